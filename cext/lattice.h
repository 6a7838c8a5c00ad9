/* Fourier transforms of small stamps on sheared lattices of wavevectors, as products of small matrices.
 *
 * For one precision: define REAL (double or float) and REAL_MASK, the integer of its size, before this header.  Stamps have an odd side n = 2 c + 1 and
 * are taken about their central pixel; with h = c + 1, everything is folded along x and y into sums and differences
 * of opposite pixels, and the phases into cosines and sines.
 *
 * Wavevectors [rad/pixel] are (alpha - slope beta, beta) with alpha = i dq and beta = j dq.  A slope costs one
 * rotation of the half-transformed rows, and no interpolation.
 */
#ifndef SHAPEMPI_LATTICE_H
#define SHAPEMPI_LATTICE_H

#include <math.h>

#include "metacal.h"
#include "simd.h"

#define PI 3.14159265358979323846

typedef REAL vreal __attribute__((vector_size(SIMD_BYTES)));
typedef REAL_MASK vmask __attribute__((vector_size(SIMD_BYTES)));

/* Numbers in a vector. */
#define LANES ((ptrdiff_t)(SIMD_BYTES / sizeof(REAL)))

/* Blocks of the matrix products: rows, and vectors along a row.  Their product is what the registers hold. */
#define BLOCK_ROWS 6
#if SIMD_BYTES == 64
#define BLOCK_VECTORS 4
#else
#define BLOCK_VECTORS 2
#endif

/* Sanitizers check every access: unrolled, that takes minutes to compile. */
#ifdef __SANITIZE_ADDRESS__
#define UNROLL
#else
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#endif

/* The distance of the rows that turn_row makes: a constant, so that a compiler needs one register for all of them;
 * it is enough for half of the longest stamp. */
#define TURNED_ROW ((METACAL_LARGEST / 2 + 1 + 15) / 16 * 16)

static inline vreal load(const REAL *p)
{
    return *(const vreal *)p;
}

static inline void store(REAL *p, vreal v)
{
    *(vreal *)p = v;
}

static inline vreal all(REAL x)
{
    return x - (vreal){0};
}

/* yes where a comparison holds, no elsewhere; what is not chosen may be anything, NaN included. */
static inline vreal choose(vmask where, vreal yes, vreal no)
{
    return (vreal)((where & (vmask)yes) | (~where & (vmask)no));
}

/* v, in a register: without it compilers load it again for each use, and loads are what the loops wait for. */
static inline vreal held(vreal v)
{
#if defined(__GNUC__) && defined(__x86_64__)
#ifdef __AVX512F__
    __asm__("" : "+v"(v));
#else
    __asm__("" : "+x"(v));
#endif
#endif
    return v;
}

static inline ptrdiff_t round_up(ptrdiff_t n, ptrdiff_t step)
{
    return (n + step - 1) / step * step;
}

/* c[rows, columns] = a[rows, depth] b[depth, columns] for BLOCK_ROWS rows and n_vector vectors of columns. */
static inline __attribute__((always_inline)) void block_product(
    const REAL *restrict a, ptrdiff_t a_row, const REAL *restrict b, ptrdiff_t b_row, ptrdiff_t depth,
    REAL *restrict c, ptrdiff_t c_row, const int n_vector)
{
    vreal sum[BLOCK_ROWS][BLOCK_VECTORS];

    UNROLL
    for (int r = 0; r < BLOCK_ROWS; r++)
        UNROLL
        for (int v = 0; v < n_vector; v++)
            sum[r][v] = all(0);
    for (ptrdiff_t k = 0; k < depth; k++) {
        vreal row[BLOCK_VECTORS];
        UNROLL
        for (int v = 0; v < n_vector; v++)
            row[v] = load(b + k * b_row + v * LANES);
        UNROLL
        for (int r = 0; r < BLOCK_ROWS; r++) {
            const vreal factor = all(a[r * a_row + k]);
            UNROLL
            for (int v = 0; v < n_vector; v++)
                sum[r][v] += factor * row[v];
        }
    }
    UNROLL
    for (int r = 0; r < BLOCK_ROWS; r++)
        UNROLL
        for (int v = 0; v < n_vector; v++)
            store(c + r * c_row + v * LANES, sum[r][v]);
}

/* c = a b.  `rows` is rounded up to whole blocks and `columns` is a multiple of LANES: a and c have these rows. */
static inline void matrix_product(const REAL *a, ptrdiff_t a_row, const REAL *b, ptrdiff_t b_row, ptrdiff_t rows,
                                  ptrdiff_t depth, ptrdiff_t columns, REAL *c, ptrdiff_t c_row)
{
    for (ptrdiff_t i = 0; i < rows; i += BLOCK_ROWS) {
        const REAL *from = a + i * a_row;
        REAL *to = c + i * c_row;
        ptrdiff_t j = 0;

        for (; j + BLOCK_VECTORS * LANES <= columns; j += BLOCK_VECTORS * LANES)
            block_product(from, a_row, b + j, b_row, depth, to + j, c_row, BLOCK_VECTORS);
        for (; j < columns; j += LANES)
            block_product(from, a_row, b + j, b_row, depth, to + j, c_row, 1);
    }
}

/* What does not depend on the stamp: cosines and sines of the lattice of one period and one side.
 *
 * Rows of `along_y` are beta_j, columns y >= 0 (the sines negative); rows of `along_x` are x >= 0, columns alpha_i. */
struct lattice_tables {
    ptrdiff_t n, h, h_padded, period, n_frequency, n_frequency_padded;
    REAL *cos_y, *sin_y, *cos_x, *sin_x;
};

static inline ptrdiff_t lattice_tables_size(ptrdiff_t n, ptrdiff_t period)
{
    const ptrdiff_t h = n / 2 + 1, n_frequency = period / 2 + 1;
    return 2 * round_up(n_frequency, BLOCK_ROWS) * round_up(h, LANES) + 2 * h * round_up(n_frequency, LANES);
}

/* Where the tables are in `space`, which holds lattice_tables_size numbers and is aligned to SIMD_BYTES. */
static inline struct lattice_tables lattice_tables_view(ptrdiff_t n, ptrdiff_t period, REAL *space)
{
    struct lattice_tables t;

    t.n = n;
    t.h = n / 2 + 1;
    t.h_padded = round_up(t.h, LANES);
    t.period = period;
    t.n_frequency = period / 2 + 1;
    t.n_frequency_padded = round_up(t.n_frequency, LANES);
    const ptrdiff_t rows = round_up(t.n_frequency, BLOCK_ROWS);
    t.cos_y = space;
    t.sin_y = t.cos_y + rows * t.h_padded;
    t.cos_x = t.sin_y + rows * t.h_padded;
    t.sin_x = t.cos_x + t.h * t.n_frequency_padded;
    return t;
}

static inline void lattice_tables_fill(ptrdiff_t n, ptrdiff_t period, REAL *space)
{
    const struct lattice_tables t = lattice_tables_view(n, period, space);
    const double dq = 2.0 * PI / (double)period;
    const ptrdiff_t rows = round_up(t.n_frequency, BLOCK_ROWS);

    for (ptrdiff_t j = 0; j < rows; j++)
        for (ptrdiff_t y = 0; y < t.h_padded; y++) {
            const double phase = (double)((j * y) % period) * dq;
            t.cos_y[j * t.h_padded + y] = (REAL)cos(phase);
            t.sin_y[j * t.h_padded + y] = (REAL)-sin(phase);
        }
    for (ptrdiff_t x = 0; x < t.h; x++)
        for (ptrdiff_t i = 0; i < t.n_frequency_padded; i++) {
            const double phase = (double)((i * x) % period) * dq;
            t.cos_x[x * t.n_frequency_padded + i] = (REAL)cos(phase);
            t.sin_x[x * t.n_frequency_padded + i] = (REAL)sin(phase);
        }
}

/* Fold a stamp of n rows, `row_step` and `column_step` numbers apart, into sums (even) and differences (odd) of
 * opposite pixels along each axis.
 *
 * Two sets of h rows of `width` numbers: even along y in `even_y`, odd along y in `odd_y`; in each row the part that
 * is even along x, then, h_padded further, the odd one. */
static inline void fold(const double *stamp, ptrdiff_t row_step, ptrdiff_t column_step, ptrdiff_t n,
                        ptrdiff_t h_padded, REAL *even_y, REAL *odd_y, ptrdiff_t width)
{
    const ptrdiff_t c = n / 2;

    for (ptrdiff_t y = 0; y <= c; y++) {
        const double *up = stamp + (c + y) * row_step + c * column_step;
        const double *down = stamp + (c - y) * row_step + c * column_step;
        const double once = y == 0 ? 0.0 : 1.0; /* the central row has no partner */
        REAL *ee = even_y + y * width, *eo = ee + h_padded;
        REAL *oe = odd_y + y * width, *oo = oe + h_padded;

        ee[0] = (REAL)(up[0] + once * down[0]);
        oe[0] = (REAL)(once * (up[0] - down[0]));
        eo[0] = oo[0] = 0;
        for (ptrdiff_t x = 1; x <= c; x++) {
            const double right = up[x * column_step], left = up[-x * column_step];
            const double right_down = once * down[x * column_step], left_down = once * down[-x * column_step];
            ee[x] = (REAL)((right + left) + (right_down + left_down));
            eo[x] = (REAL)((right - left) + (right_down - left_down));
            oe[x] = (REAL)(once * ((right + left) - (right_down + left_down)));
            oo[x] = (REAL)(once * ((right - left) - (right_down - left_down)));
        }
        for (ptrdiff_t x = c + 1; x < h_padded; x++)
            ee[x] = eo[x] = oe[x] = oo[x] = 0;
    }
}

/* Turn one row beta of half-transformed stamps by exp(i slope beta x): `phase` holds cosines and sines of
 * slope beta x.  `re` and `im` are the row's even and odd parts of n_stamp stamps; out holds, for each stamp, the
 * real and imaginary even parts and the real and imaginary odd parts, TURNED_ROW numbers apart. */
static inline void turn_row(const REAL *restrict re, const REAL *restrict im, const REAL *restrict phase,
                            ptrdiff_t h_padded, const int n_stamp, REAL *restrict out)
{
    for (ptrdiff_t x = 0; x < h_padded; x += LANES) {
        const vreal c = load(phase + x), s = load(phase + h_padded + x);
        for (int k = 0; k < n_stamp; k++) {
            const ptrdiff_t even = 2 * k * h_padded + x, odd = even + h_padded;
            const vreal er = load(re + even), ei = load(im + even), dr = load(re + odd), di = load(im + odd);
            REAL *to = out + 4 * k * TURNED_ROW + x;
            store(to, er * c - di * s);
            store(to + TURNED_ROW, ei * c + dr * s);
            store(to + 2 * TURNED_ROW, dr * c - ei * s);
            store(to + 3 * TURNED_ROW, di * c + er * s);
        }
    }
}

/* Finish the transforms of n_stamp stamps in one row beta, for one vector of alpha.
 *
 * sum[k] gets the four sums over x of stamp k: even times cosine (real, imaginary), odd times sine (real, imaginary).
 * The transform at +alpha is (e_re + o_im, e_im - o_re), at -alpha (e_re - o_im, e_im + o_re). */
static inline __attribute__((always_inline)) void transform_vector(
    const REAL *restrict row, ptrdiff_t h, const REAL *restrict cos_x, const REAL *restrict sin_x, ptrdiff_t table_row,
    const int n_stamp, vreal (*sum)[4])
{
    UNROLL
    for (int k = 0; k < n_stamp; k++)
        UNROLL
        for (int q = 0; q < 4; q++)
            sum[k][q] = all(0);
    for (ptrdiff_t x = 0; x < h; x++) {
        const vreal c = load(cos_x + x * table_row), s = load(sin_x + x * table_row);
        UNROLL
        for (int k = 0; k < n_stamp; k++)
            UNROLL
            for (int q = 0; q < 4; q++)
                sum[k][q] += all(row[(4 * k + q) * TURNED_ROW + x]) * (q < 2 ? c : s);
    }
}

/* Rows of `amplitude` times cosines and sines of `phase` times row times column: out[row][cosine, sine][column],
 * `width` columns (a multiple of LANES).  By rotation in double precision; the error grows with the row, to some
 * 1e-14. */
static inline void phase_rows(double phase, double amplitude, ptrdiff_t n_row, ptrdiff_t width,
                              double *restrict scratch, REAL *restrict out)
{
    const ptrdiff_t room = round_up(width, 8);
    double *restrict c1 = scratch, *restrict s1 = c1 + room, *restrict c = s1 + room, *restrict s = c + room;
    const double dc = cos(phase), ds = sin(phase);

    if (phase == 0.0) {
        for (ptrdiff_t row = 0; row < n_row; row++)
            for (ptrdiff_t m = 0; m < width; m++) {
                out[row * 2 * width + m] = (REAL)amplitude;
                out[(row * 2 + 1) * width + m] = 0;
            }
        return;
    }
    /* Eight numbers one after the other, then eight at a time. */
    c1[0] = 1.0;
    s1[0] = 0.0;
    for (ptrdiff_t m = 1; m < 8; m++) {
        c1[m] = c1[m - 1] * dc - s1[m - 1] * ds;
        s1[m] = s1[m - 1] * dc + c1[m - 1] * ds;
    }
    const double c8 = c1[7] * dc - s1[7] * ds, s8 = s1[7] * dc + c1[7] * ds;
    for (ptrdiff_t m = 8; m < width; m += 8)
        for (ptrdiff_t l = m; l < m + 8; l++) {
            c1[l] = c1[l - 8] * c8 - s1[l - 8] * s8;
            s1[l] = s1[l - 8] * c8 + c1[l - 8] * s8;
        }
    for (ptrdiff_t m = 0; m < width; m++) {
        c[m] = amplitude;
        s[m] = 0.0;
    }
    for (ptrdiff_t row = 0; row < n_row; row++) {
        REAL *restrict cosine = out + row * 2 * width, *restrict sine = cosine + width;
        for (ptrdiff_t m = 0; m < width; m++) {
            const double old_c = c[m], old_s = s[m];
            cosine[m] = (REAL)old_c;
            sine[m] = (REAL)old_s;
            c[m] = old_c * c1[m] - old_s * s1[m];
            s[m] = old_s * c1[m] + old_c * s1[m];
        }
    }
}

/* Numbers of scratch, in doubles, that phase_rows needs. */
#define PHASE_SCRATCH(width) (4 * round_up(width, 8))

#endif
