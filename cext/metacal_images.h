/* The body of metacal_f64.c and metacal_f32.c: see metacal.h for the mathematics, lattice.h for the transforms. */
#include <stdint.h>

#include "dilated_target.h"
#include "isa.h"
#include "lattice.h"

/* sigma^2 |k|^2 at which the target ends: -2 ln METACAL_ACCURACY. */
#define TARGET_LIMIT 23.025850929940457

/* Rows of the noise that are turned together. */
#define TURNED_ROWS 8

/* The order of the stamps of an epoch; the last is left out when there is no noise. */
enum { PSF, GALAXY, NOISE, MOST_STAMPS };

/* Rows y of the inverse transform that are worked on together: with four sums each they fill the registers. */
#define INVERSE_ROWS 3

/* One shear: the map (a b; c d) of metacal.h, and where target and inverse PSF end. */
struct shear_map {
    double a, b, c, d;
    double target[3]; /* sigma^2 |k|^2 = target[0] i^2 + 2 target[1] i j + target[2] j^2 at lattice point (i, j) */
    double source[3]; /* the same of |S k|^2 */
    ptrdiff_t n_beta; /* rows j = 0 .. n_beta - 1 are not all zero */
};

/* Everything that a thread needs, sized for the whole plane. */
struct workspace {
    REAL *folded;         /* [even, odd][h][stamp][even, odd][h_padded] */
    REAL *half_re;        /* [beta][stamp][even, odd][h_padded] */
    REAL *half_im;
    REAL *turned;         /* [stamp][4][TURNED_ROW] */
    REAL *slope_phase;    /* [beta][cos, sin][h_padded] */
    REAL *panels;         /* [stamp][panel][beta][4][LANES] */
    REAL *beta_phase;     /* [beta][cos, sin][h_padded] */
    REAL *alpha_phase;    /* [y][cos, sin][alpha] */
    REAL *column_phase;   /* [alpha][cos, sin][h_padded] */
    REAL *rows_re;        /* [stamp][y: -c .. c][alpha] */
    REAL *rows_im;
    REAL *half_even;      /* [stamp][y][h_padded] */
    REAL *half_odd;
    double *gauss;        /* [+alpha, -alpha][step or value][alpha] */
    REAL *dilated;        /* [beta][+alpha, -alpha][real, imaginary][alpha]; the target `dilate` only */
    double *phase;        /* scratch of phase_rows and dilated_target */
    ptrdiff_t *reach;     /* [panel]: rows beta of it that are not all zero */
};

static size_t take(char **space, ptrdiff_t count, size_t size)
{
    const size_t bytes = ((size_t)count * size + 63) / 64 * 64;
    if (*space)
        *space += bytes;
    return bytes;
}

/* Lay the arrays out in `space`, or only count their bytes if that is NULL. */
static size_t lay_out(ptrdiff_t n, ptrdiff_t period, int with_dilated, char *space, struct workspace *w)
{
    const ptrdiff_t h = n / 2 + 1, h_padded = round_up(h, LANES), h_rows = round_up(h, INVERSE_ROWS);
    const ptrdiff_t beta = round_up(period / 2 + 1, BLOCK_ROWS), alpha = round_up(period / 2 + 1, LANES);
    const ptrdiff_t width = h_padded + INVERSE_ROWS > alpha ? h_padded + INVERSE_ROWS : alpha;
    const ptrdiff_t rows = round_up(2 * n, BLOCK_ROWS);
    size_t total = 0;

#define ARRAY(name, count)                                 \
    do {                                                   \
        w->name = (void *)space;                           \
        total += take(&space, (count), sizeof *w->name);   \
    } while (0)
    ARRAY(folded, 2 * h * MOST_STAMPS * 2 * h_padded);
    ARRAY(half_re, beta * MOST_STAMPS * 2 * h_padded);
    ARRAY(half_im, beta * MOST_STAMPS * 2 * h_padded);
    ARRAY(turned, MOST_STAMPS * 4 * TURNED_ROW);
    ARRAY(slope_phase, beta * 2 * h_padded);
    ARRAY(panels, 2 * 4 * alpha * beta);
    ARRAY(beta_phase, beta * 2 * (h_padded + INVERSE_ROWS));
    ARRAY(alpha_phase, h_rows * 2 * alpha);
    ARRAY(column_phase, alpha * 2 * h_padded);
    ARRAY(rows_re, rows * alpha);
    ARRAY(rows_im, rows * alpha);
    ARRAY(half_even, rows * h_padded);
    ARRAY(half_odd, rows * h_padded);
    ARRAY(gauss, 4 * alpha);
    ARRAY(dilated, with_dilated ? 4 * beta * alpha : 0);
    ARRAY(phase, PHASE_SCRATCH(width) + DILATED_SCRATCH(n));
    ARRAY(reach, alpha / LANES + 1);
#undef ARRAY
    return total;
}

size_t REAL_NAME(metacal_tables_size)(ptrdiff_t n, ptrdiff_t period)
{
    return (size_t)lattice_tables_size(n, period) * sizeof(REAL);
}

size_t REAL_NAME(metacal_scratch_size)(ptrdiff_t n, ptrdiff_t period, int with_dilated)
{
    struct workspace w;
    return lay_out(n, period, with_dilated, NULL, &w);
}

void REAL_NAME(metacal_fill_tables)(ptrdiff_t n, ptrdiff_t period, void *tables)
{
    lattice_tables_fill(n, period, tables);
}

/* The largest |i| of the ellipse form(i, j) <= limit, in form the matrix [form[0], form[1]; form[1], form[2]]. */
static double reach_of(const double *form, double limit, int along_j)
{
    const double determinant = form[0] * form[2] - form[1] * form[1];
    return sqrt(limit * (along_j ? form[0] : form[2]) / determinant);
}

/* The largest |i| in row j of the ellipse, for either sign of i; negative if the row does not meet it. */
static double reach_in_row(const double *form, double limit, double j)
{
    const double tilt = form[1] * j, inside = tilt * tilt - form[0] * (form[2] * j * j - limit);
    return inside < 0 ? -1.0 : (fabs(tilt) + sqrt(inside)) / form[0];
}

static void quadratic_form(const double *m, double factor, double *form)
{
    form[0] = factor * (m[0] * m[0] + m[2] * m[2]);
    form[1] = factor * (m[0] * m[1] + m[2] * m[3]);
    form[2] = factor * (m[1] * m[1] + m[3] * m[3]);
}

static struct shear_map map_of_shear(const double *jacobian, double g1, double g2, double sigma, double max_k,
                                     ptrdiff_t period)
{
    const double ux = jacobian[0], uy = jacobian[1], vx = jacobian[2], vy = jacobian[3];
    const double determinant = ux * vy - uy * vx;
    const double norm = 1.0 / sqrt(1.0 - g1 * g1 - g2 * g2);
    const double dq = 2.0 * PI / (double)period;
    /* S^-1 J, then (a b; c d) = J^-1 S^-1 J */
    const double p = norm * ((1.0 - g1) * ux - g2 * vx), q = norm * ((1.0 - g1) * uy - g2 * vy);
    const double r = norm * (-g2 * ux + (1.0 + g1) * vx), s = norm * (-g2 * uy + (1.0 + g1) * vy);
    struct shear_map map;

    map.a = (vy * p - uy * r) / determinant;
    map.b = (vy * q - uy * s) / determinant;
    map.c = (-vx * p + ux * r) / determinant;
    map.d = (-vx * q + ux * s) / determinant;
    /* k = J^-T q, once for q and once for M q */
    const double inverse[4] = {vy / determinant, -vx / determinant, -uy / determinant, ux / determinant};
    const double to_q[4] = {map.a, 0.0, map.b, 1.0 / map.a}, to_source[4] = {1.0, -map.c / map.a, 0.0, 1.0};
    double k_of[4], source_of[4];
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 2; j++) {
            k_of[2 * i + j] = dq * (inverse[2 * i] * to_q[j] + inverse[2 * i + 1] * to_q[2 + j]);
            source_of[2 * i + j] = dq * (inverse[2 * i] * to_source[j] + inverse[2 * i + 1] * to_source[2 + j]);
        }
    quadratic_form(k_of, sigma * sigma, map.target);
    quadratic_form(source_of, 1.0, map.source);
    const double last =
        fmin(reach_of(map.target, TARGET_LIMIT, 1), reach_of(map.source, max_k * max_k, 1));
    map.n_beta = last >= (double)(period / 2) ? period / 2 + 1 : (ptrdiff_t)last + 1;
    return map;
}

/* For each panel of alpha, how many rows beta it has to be computed in; returns the number of alphas. */
static ptrdiff_t reach_of_panels(const struct shear_map *map, double max_k, ptrdiff_t period, ptrdiff_t *reach)
{
    ptrdiff_t n_panel = 0, n_alpha = 0;

    for (ptrdiff_t j = map->n_beta - 1; j >= 0; j--) {
        double last = fmin(reach_in_row(map->target, TARGET_LIMIT, (double)j),
                           reach_in_row(map->source, max_k * max_k, (double)j));
        last = fmin(last + 1e-6, (double)(period / 2)); /* no point on the rim is lost to rounding */
        if (last < 0)
            continue;
        for (; n_panel < (ptrdiff_t)last / LANES + 1; n_panel++)
            reach[n_panel] = j + 1;
        n_alpha = (ptrdiff_t)last + 1 > n_alpha ? (ptrdiff_t)last + 1 : n_alpha;
    }
    return n_alpha;
}

/* Values of the target's transform along alpha in row beta_j, for +alpha and -alpha, advanced from row to row. */
static void start_gauss(const struct shear_map *map, ptrdiff_t n, double *gauss)
{
    for (int sign = 0; sign < 2; sign++) {
        const double tilt = sign ? -map->target[1] : map->target[1];
        double *step = gauss + 2 * sign * n, *value = step + n;
        const double ratio = exp(-tilt), second = exp(-map->target[0]);
        double first = exp(-0.5 * map->target[0]);

        step[0] = value[0] = 1.0;
        for (ptrdiff_t i = 1; i < n; i++) {
            step[i] = step[i - 1] * ratio;
            value[i] = value[i - 1] * first;
            first *= second;
        }
    }
}

static void advance_gauss(double factor, ptrdiff_t n, double *restrict gauss)
{
    for (int sign = 0; sign < 2; sign++) {
        const double *restrict step = gauss + 2 * sign * n;
        double *restrict value = gauss + (2 * sign + 1) * n;
        for (ptrdiff_t i = 0; i < n; i++)
            value[i] *= step[i] * factor;
    }
}

static inline vreal load_doubles(const double *p)
{
    vreal v;
    for (int i = 0; i < (int)LANES; i++)
        v[i] = (REAL)p[i];
    return v;
}

/* target over PSF at one vector of lattice points: the complex factor of every stamp's transform.
 *
 * Zero beyond either ellipse; a PSF below the accuracy is taken as that accuracy.  `dilated`, if not NULL, is the
 * target itself, and the Gaussian only says where it ends. */
static inline void deconvolve(vreal psf_re, vreal psf_im, vreal gauss, vreal source, const REAL *dilated,
                              ptrdiff_t dilated_im, REAL accuracy, REAL flux, REAL max_source, vreal *re, vreal *im)
{
    const vreal power = psf_re * psf_re + psf_im * psf_im;
    const vmask inside = (gauss >= all((REAL)METACAL_ACCURACY)) & (source <= all(max_source));
    const vmask small = power < all(accuracy * accuracy);
    const vreal top = choose(inside, dilated ? all(1) : gauss * flux, all(0));
    const vreal quotient = top / power;
    const vreal ratio_re = choose(small, top / accuracy, quotient * psf_re);
    const vreal ratio_im = choose(small, all(0), -quotient * psf_im);

    if (dilated) {
        const vreal target_re = load(dilated), target_im = load(dilated + dilated_im);
        *re = ratio_re * target_re - ratio_im * target_im;
        *im = ratio_re * target_im + ratio_im * target_re;
    } else {
        *re = ratio_re;
        *im = ratio_im;
    }
}

/* Forward transforms of one shear, deconvolution, and what of the result is even and odd along beta. */
static inline __attribute__((always_inline)) void shear_forward(
    const struct lattice_tables *t, const struct shear_map *map, double max_k, double flux, ptrdiff_t n_panel,
    struct workspace *w, const int n_stamp, const int is_dilated)
{
    const ptrdiff_t width = MOST_STAMPS * 2 * t->h_padded, n_alpha = n_panel * LANES;
    const ptrdiff_t panel_size = 4 * LANES * t->n_frequency;
    const double slope = map->c / map->a;
    const REAL accuracy = (REAL)(METACAL_ACCURACY * flux), max_source = (REAL)(max_k * max_k);
    const ptrdiff_t most_panels = t->n_frequency_padded / LANES;
    vreal lane;

    for (int i = 0; i < (int)LANES; i++)
        lane[i] = (REAL)i;
    phase_rows(slope * 2.0 * PI / (double)t->period, 1.0, map->n_beta, t->h_padded, w->phase,
               w->slope_phase);
    start_gauss(map, n_alpha, w->gauss);
    for (ptrdiff_t j = 0; j < map->n_beta; j++) {
        const REAL s1 = (REAL)map->source[0], s2 = (REAL)(2.0 * map->source[1] * (double)j);
        const REAL s3 = (REAL)(map->source[2] * (double)j * (double)j);

        turn_row(w->half_re + j * width, w->half_im + j * width, w->slope_phase + j * 2 * t->h_padded, t->h_padded,
                 n_stamp, w->turned);
        for (ptrdiff_t p = 0; p < n_panel && j < w->reach[p]; p++) {
            const ptrdiff_t at = p * LANES;
            const vreal i = lane + (REAL)at, square = i * i * s1 + s3, cross = i * s2;
            vreal sum[MOST_STAMPS][4], plus_re, plus_im, minus_re, minus_im;

            transform_vector(w->turned, t->h, t->cos_x + at, t->sin_x + at, t->n_frequency_padded,
                             n_stamp, sum);
            const vreal er = sum[PSF][0], ei = sum[PSF][1], dr = sum[PSF][2], di = sum[PSF][3];
            const REAL *dilated = is_dilated ? w->dilated + 4 * j * t->n_frequency_padded + at : NULL;
            deconvolve(er + di, ei - dr, load_doubles(w->gauss + n_alpha + at), square + cross, dilated,
                       t->n_frequency_padded, accuracy, (REAL)flux, max_source, &plus_re, &plus_im);
            deconvolve(er - di, ei + dr, load_doubles(w->gauss + 3 * n_alpha + at), square - cross,
                       dilated ? dilated + 2 * t->n_frequency_padded : NULL, t->n_frequency_padded, accuracy,
                       (REAL)flux, max_source, &minus_re, &minus_im);
            UNROLL
            for (int k = GALAXY; k < n_stamp; k++) {
                const vreal fr = sum[k][0] + sum[k][3], fi = sum[k][1] - sum[k][2];
                const vreal br = sum[k][0] - sum[k][3], bi = sum[k][1] + sum[k][2];
                const vreal ar = fr * plus_re - fi * plus_im, ai = fr * plus_im + fi * plus_re;
                const vreal cr = br * minus_re - bi * minus_im, ci = br * minus_im + bi * minus_re;
                REAL *to = w->panels + ((k - GALAXY) * most_panels + p) * panel_size + j * 4 * LANES;

                /* X(alpha, beta) +- X(alpha, -beta), the latter being the conjugate of X(-alpha, beta); beta = 0 is
                 * there once */
                store(to, j ? ar + cr : ar);
                store(to + LANES, j ? ai - ci : ai);
                store(to + 2 * LANES, j ? ar - cr : all(0));
                store(to + 3 * LANES, j ? ai + ci : all(0));
            }
        }
        advance_gauss(exp(-map->target[2] * ((double)j + 0.5)), n_alpha, w->gauss);
    }
}

/* Inverse transform along beta of one panel and INVERSE_ROWS rows y >= 0, turned by exp(i alpha b y), into the rows
 * y and -y. */
static inline void inverse_panel(const struct lattice_tables *t, const struct workspace *w, const REAL *panel,
                                 ptrdiff_t n_beta, ptrdiff_t y, ptrdiff_t at, REAL *rows_re, REAL *rows_im)
{
    const ptrdiff_t width = t->h_padded + INVERSE_ROWS, c = t->n / 2, alpha = t->n_frequency_padded;
    vreal sum[INVERSE_ROWS][4];

    UNROLL
    for (int r = 0; r < INVERSE_ROWS; r++)
        UNROLL
        for (int q = 0; q < 4; q++)
            sum[r][q] = all(0);
    for (ptrdiff_t j = 0; j < n_beta; j++) {
        const REAL *cosine = w->beta_phase + j * 2 * width + y, *sine = cosine + width;
        UNROLL
        for (int q = 0; q < 4; q++) {
            const vreal x = held(load(panel + (j * 4 + q) * LANES));
            UNROLL
            for (int r = 0; r < INVERSE_ROWS; r++)
                sum[r][q] += all(q < 2 ? cosine[r] : sine[r]) * x;
        }
    }
    UNROLL
    for (int r = 0; r < INVERSE_ROWS; r++) {
        if (y + r > c)
            break;
        const REAL *phase = w->alpha_phase + (y + r) * 2 * alpha + at;
        const ptrdiff_t up = (c + y + r) * alpha + at, down = (c - y - r) * alpha + at;
        const vreal cosine = load(phase), sine = load(phase + alpha);
        const vreal ur = sum[r][0] - sum[r][3], ui = sum[r][1] + sum[r][2];
        const vreal dr = sum[r][0] + sum[r][3], di = sum[r][1] - sum[r][2];
        store(rows_re + down, dr * cosine + di * sine);
        store(rows_im + down, di * cosine - dr * sine);
        store(rows_re + up, ur * cosine - ui * sine);
        store(rows_im + up, ui * cosine + ur * sine);
    }
}

/* Inverse transforms of one shear: half_even and half_odd get what is even and odd along x. */
static void shear_inverse(const struct lattice_tables *t, const struct shear_map *map, ptrdiff_t n_alpha,
                          struct workspace *w, int n_image)
{
    const double dq = 2.0 * PI / (double)t->period;
    const ptrdiff_t alpha = t->n_frequency_padded, n_panel = round_up(n_alpha, LANES) / LANES;
    const ptrdiff_t panel_size = 4 * LANES * t->n_frequency, most_panels = alpha / LANES;
    const double weight = 2.0 / ((double)t->period * (double)t->period);

    phase_rows(dq / map->a, 1.0, map->n_beta, t->h_padded + INVERSE_ROWS, w->phase, w->beta_phase);
    phase_rows(dq * map->b, 1.0, t->h, alpha, w->phase, w->alpha_phase);
    phase_rows(dq * map->a, weight, n_alpha, t->h_padded, w->phase, w->column_phase);
    /* Every alpha but 0 stands for its negative, too. */
    for (ptrdiff_t x = 0; x < 2 * t->h_padded; x++)
        w->column_phase[x] *= (REAL)0.5;
    for (int k = 0; k < n_image; k++)
        for (ptrdiff_t p = 0; p < n_panel; p++)
            for (ptrdiff_t y = 0; y < t->h; y += INVERSE_ROWS)
                inverse_panel(t, w, w->panels + (k * most_panels + p) * panel_size, w->reach[p], y, p * LANES,
                              w->rows_re + k * t->n * alpha, w->rows_im + k * t->n * alpha);
    matrix_product(w->rows_re, alpha, w->column_phase, 2 * t->h_padded, n_image * t->n, n_alpha, t->h_padded,
                   w->half_even, t->h_padded);
    matrix_product(w->rows_im, alpha, w->column_phase + t->h_padded, 2 * t->h_padded, n_image * t->n, n_alpha,
                   t->h_padded, w->half_odd, t->h_padded);
}

/* One row of an image from what is even and odd along x; `row` points to its central pixel. */
static inline void unfold_row(const REAL *even, const REAL *odd, ptrdiff_t c, REAL *restrict row)
{
    _Alignas(SIMD_BYTES) REAL left[TURNED_ROW], right[TURNED_ROW];

    for (ptrdiff_t x = 0; x <= c; x += LANES) {
        const vreal e = load(even + x), o = load(odd + x);
        store(right + x, e - o);
        store(left + x, e + o);
    }
    right[0] = even[0];
    memcpy(row, right, (size_t)(c + 1) * sizeof(REAL));
    for (ptrdiff_t x = 1; x <= c; x++)
        row[-x] = left[x];
}

/* Put the halves together: the galaxy's image, and to it the noise's, turned back by three quarters. */
static void unfold(const struct lattice_tables *t, const struct workspace *w, int with_noise, REAL *restrict out)
{
    const ptrdiff_t n = t->n, c = n / 2, width = t->h_padded;

    for (ptrdiff_t y = 0; y < n; y++)
        unfold_row(w->half_even + y * width, w->half_odd + y * width, c, out + y * n + c);
    if (!with_noise)
        return;
    /* numpy.rot90(noise, 3)[y, x] = noise[n - 1 - x, y], a few rows of the noise at a time */
    for (ptrdiff_t first = 0; first < n; first += TURNED_ROWS) {
        REAL strip[TURNED_ROWS][METACAL_LARGEST];
        const ptrdiff_t count = n - first < TURNED_ROWS ? n - first : TURNED_ROWS;

        for (ptrdiff_t r = 0; r < count; r++)
            unfold_row(w->half_even + (n + first + r) * width, w->half_odd + (n + first + r) * width, c,
                       strip[r] + c);
        for (ptrdiff_t y = 0; y < n; y++) {
            REAL *to = out + y * n + n - 1 - first;
            for (ptrdiff_t r = 0; r < count; r++)
                to[-r] += strip[r][y];
        }
    }
}

void REAL_NAME(metacal_images)(const double *stamp, const double *psf, const double *noise, const double *jacobian,
                               double sigma, double dilation, double max_k, const double *shear, ptrdiff_t n_type,
                               ptrdiff_t n, ptrdiff_t period, const void *tables, void *scratch, void *out)
{
    const struct lattice_tables t = lattice_tables_view(n, period, (REAL *)tables);
    const int n_stamp = noise ? MOST_STAMPS : MOST_STAMPS - 1, is_dilated = dilation > 0.0;
    const ptrdiff_t width = MOST_STAMPS * 2 * t.h_padded;
    const double flux = vdouble_total(psf, n * n), dq = 2.0 * PI / (double)period;
    struct workspace w;
    ptrdiff_t n_beta = 0;

    lay_out(n, period, is_dilated, scratch, &w);
    if (is_dilated)
        sigma = sqrt(TARGET_LIMIT) * dilation / max_k; /* ends where the dilated PSF does */
    for (ptrdiff_t s = 0; s < n_type; s++) {
        const struct shear_map map = map_of_shear(jacobian, shear[2 * s], shear[2 * s + 1], sigma, max_k, period);
        n_beta = map.n_beta > n_beta ? map.n_beta : n_beta;
    }
    REAL *even = w.folded, *odd = w.folded + t.h * width;
    fold(psf, n, 1, n, t.h_padded, even, odd, width);
    fold(stamp, n, 1, n, t.h_padded, even + 2 * t.h_padded, odd + 2 * t.h_padded, width);
    /* numpy.rot90(noise)[y, x] = noise[x, n - 1 - y] */
    if (noise)
        fold(noise + n - 1, -1, n, n, t.h_padded, even + 4 * t.h_padded, odd + 4 * t.h_padded, width);
    matrix_product(t.cos_y, t.h_padded, even, width, n_beta, t.h, n_stamp * 2 * t.h_padded, w.half_re, width);
    matrix_product(t.sin_y, t.h_padded, odd, width, n_beta, t.h, n_stamp * 2 * t.h_padded, w.half_im, width);
    for (ptrdiff_t s = 0; s < n_type; s++) {
        const struct shear_map map = map_of_shear(jacobian, shear[2 * s], shear[2 * s + 1], sigma, max_k, period);
        const ptrdiff_t n_alpha = reach_of_panels(&map, max_k, period, w.reach);
        const ptrdiff_t n_panel = round_up(n_alpha, LANES) / LANES;

        if (is_dilated) {
            dilated_target(psf, n, dilation, map.a, map.b, dq, map.n_beta, n_alpha, t.n_frequency_padded, w.phase,
                           w.dilated);
            if (noise)
                shear_forward(&t, &map, max_k, flux, n_panel, &w, MOST_STAMPS, 1);
            else
                shear_forward(&t, &map, max_k, flux, n_panel, &w, MOST_STAMPS - 1, 1);
        } else if (noise) {
            shear_forward(&t, &map, max_k, flux, n_panel, &w, MOST_STAMPS, 0);
        } else {
            shear_forward(&t, &map, max_k, flux, n_panel, &w, MOST_STAMPS - 1, 0);
        }
        shear_inverse(&t, &map, n_alpha, &w, n_stamp - GALAXY);
        unfold(&t, &w, noise != NULL, (REAL *)out + s * n * n);
    }
}
