#define REAL double
#define REAL_MASK int64_t
#include "isa.h"
#include "lattice.h"
#include "psf_band.h"

#define PI 3.14159265358979323846

/* Part of the flux outside the box that sets the lattice of the target rules, and the range of the interpolating
 * kernel that adds to it [pixel] (GalSim's folding_threshold and lanczos15). */
#define FOLDING 5e-3
#define KERNEL_RANGE 15.0

/* Relative value above which the transform counts for max_k (GalSim's maxk_threshold), and how many squares in a row
 * have to be below, the last one above counted, before the search ends. */
#define MAXK_THRESHOLD 1e-3
#define MAXK_SQUARES 5

/* The most points of a ring that are looked at in one go. */
#define RING_POINTS 512

/* The real part of the transform on the lattice, with room around for the interpolation. */
struct plane {
    ptrdiff_t half, stride; /* indices are |i| <= half, 0 <= j <= half, rows from j = -2 on, columns from -half - 3 */
    double *value;
};

struct workspace {
    double *folded;   /* [even, odd along y][h][even, odd along x][h_padded] */
    double *half_re, *half_im;
    double *turned;
    double *phase;    /* of no slope: cosines 1, sines 0 */
    double *plane;
    double *above;    /* [ring of the lattice]: largest |P|^2 on the square |i| or |j| = ring */
    double *sums;     /* four rows over the frequencies, for one square between those of the lattice */
};

static size_t lay_out(ptrdiff_t n, char *space, struct workspace *w)
{
    const ptrdiff_t period = psf_band_period(n), h = n / 2 + 1, h_padded = round_up(h, LANES);
    const ptrdiff_t beta = round_up(period / 2 + 1, BLOCK_ROWS), alpha = round_up(period / 2 + 1, LANES);
    size_t total = 0;

#define ARRAY(name, count)                                                     \
    do {                                                                       \
        const size_t bytes = ((size_t)(count) * sizeof(double) + 63) / 64 * 64; \
        w->name = (double *)(space ? space + total : NULL);                    \
        total += bytes;                                                        \
    } while (0)
    ARRAY(folded, 2 * h * 2 * h_padded);
    ARRAY(half_re, beta * 2 * h_padded);
    ARRAY(half_im, beta * 2 * h_padded);
    ARRAY(turned, 4 * h_padded);
    ARRAY(phase, 2 * h_padded);
    ARRAY(plane, (period / 2 + 6) * round_up(period + 7 + LANES, LANES));
    ARRAY(above, period / 2 + 1);
    ARRAY(sums, 4 * alpha);
#undef ARRAY
    return total;
}

size_t ISA_NAME(psf_band_tables_size)(ptrdiff_t n)
{
    return (size_t)lattice_tables_size(n, psf_band_period(n)) * sizeof(double);
}

size_t ISA_NAME(psf_band_scratch_size)(ptrdiff_t n)
{
    struct workspace w;
    return lay_out(n, NULL, &w);
}

void ISA_NAME(psf_band_fill_tables)(ptrdiff_t n, void *tables)
{
    lattice_tables_fill(n, psf_band_period(n), tables);
}

/* Half the side, d + 1/2, of the smallest centred box that holds enough of the flux. */
static double flux_radius(const double *psf, ptrdiff_t n, double flux)
{
    const ptrdiff_t c = n / 2;
    double inside = psf[c * n + c];
    ptrdiff_t d = 1;

    for (; d <= c; d++) {
        for (ptrdiff_t x = -d; x < d; x++)
            inside += psf[(c - d) * n + c + x] + psf[(c + x) * n + c + d] + psf[(c + d) * n + c - x] +
                      psf[(c - x) * n + c - d];
        if (inside >= (1.0 - FOLDING) * flux)
            break;
    }
    return (double)d + 0.5;
}

static inline double *plane_row(const struct plane *plane, ptrdiff_t j)
{
    return plane->value + (j + 2) * plane->stride + plane->half + 3;
}

/* Transform the PSF: its real part over the flux into the plane, the squares' largest |P|^2 into `above`. */
static struct plane transform(const double *psf, ptrdiff_t n, double flux, const struct lattice_tables *t,
                              struct workspace *w)
{
    const ptrdiff_t width = 2 * t->h_padded, half = t->n_frequency - 1, stride = t->n_frequency_padded;
    const double scale = 1.0 / flux;
    struct plane plane = {half, round_up(2 * half + 7 + LANES, LANES), w->plane};

    memset(plane.value, 0, (size_t)((half + 6) * plane.stride) * sizeof(double));
    memset(w->above, 0, (size_t)(half + 1) * sizeof(double));
    for (ptrdiff_t x = 0; x < t->h_padded; x++) {
        w->phase[x] = 1.0;
        w->phase[t->h_padded + x] = 0.0;
    }
    fold(psf, n, 1, n, t->h_padded, w->folded, w->folded + t->h * width, width);
    matrix_product(t->cos_y, t->h_padded, w->folded, width, t->n_frequency, t->h, width, w->half_re, width);
    matrix_product(t->sin_y, t->h_padded, w->folded + t->h * width, width, t->n_frequency, t->h, width, w->half_im,
                   width);
    for (ptrdiff_t j = 0; j <= half; j++) {
        double *restrict row = plane_row(&plane, j);
        double *restrict above = w->above, *restrict minus_row = w->sums, *restrict power_row = w->sums + stride;
        double largest = above[j];

        turn_row(w->half_re + j * width, w->half_im + j * width, w->phase, t->h_padded, 1, w->turned);
        for (ptrdiff_t at = 0; at <= half; at += LANES) {
            vreal sum[1][4];

            transform_vector(w->turned, t->h, t->h_padded, t->cos_x + at, t->sin_x + at, t->n_frequency_padded, 1, sum);
            const vreal er = sum[0][0], ei = sum[0][1], dr = sum[0][2], di = sum[0][3];
            const vreal plus = (er + di) * scale, minus = (er - di) * scale;
            const vreal plus_im = (ei - dr) * scale, minus_im = (ei + dr) * scale;
            const vreal plus_power = plus * plus + plus_im * plus_im;
            const vreal minus_power = minus * minus + minus_im * minus_im;
            vdouble_store(row + at, plus);
            store(minus_row + at, minus);
            store(power_row + at, choose(plus_power > minus_power, plus_power, minus_power));
        }
        for (ptrdiff_t i = half + 1; i < half + 4; i++)
            row[i] = 0.0;
        for (ptrdiff_t i = 1; i <= half; i++)
            row[-i] = minus_row[i];
        for (ptrdiff_t i = 0; i <= j; i++)
            largest = power_row[i] > largest ? power_row[i] : largest;
        above[j] = largest;
        for (ptrdiff_t i = j + 1; i <= half; i++)
            above[i] = power_row[i] > above[i] ? power_row[i] : above[i];
    }
    /* The transform of a real image: the other half plane, as far as the interpolation looks. */
    for (ptrdiff_t j = 1; j <= 2; j++) {
        const double *from = plane_row(&plane, j);
        double *to = plane_row(&plane, -j);
        for (ptrdiff_t i = -half; i <= half; i++)
            to[i] = from[-i];
    }
    return plane;
}

/* The largest |P|^2 over flux^2 on one side of the square at frequency q: along alpha (or beta) = q.
 *
 * `row` and `column` are the steps of the folded image along the axis that is summed first and along the other. */
static double side_power(const struct workspace *w, const struct lattice_tables *t, double q, ptrdiff_t n_frequency,
                         int along_x, double flux)
{
    const ptrdiff_t width = 2 * t->h_padded, stride = t->n_frequency_padded;
    const double *even_y = w->folded, *odd_y = even_y + t->h * width;
    double *restrict ca = w->sums, *restrict cb = ca + stride, *restrict sa = cb + stride, *restrict sb = sa + stride;
    double largest = 0.0;

    for (ptrdiff_t i = 0; i < n_frequency; i++)
        ca[i] = cb[i] = sa[i] = sb[i] = 0.0;
    for (ptrdiff_t v = 0; v < t->h; v++) {
        const double *restrict cosine = t->cos_x + v * stride, *restrict sine = t->sin_x + v * stride;
        double ae = 0.0, be = 0.0, ao = 0.0, bo = 0.0; /* even or odd along v; with cosine (a) or sine (b) of q */
        const double c1 = cos(q), s1 = sin(q);
        double c = 1.0, s = 0.0;

        for (ptrdiff_t u = 0; u < t->h; u++) {
            const ptrdiff_t at = along_x ? v * width + u : u * width + v;
            ae += even_y[at] * c;
            be += (along_x ? even_y[at + t->h_padded] : odd_y[at]) * s;
            ao += (along_x ? odd_y[at] : even_y[at + t->h_padded]) * c;
            bo += odd_y[at + t->h_padded] * s;
            const double next = c * c1 - s * s1;
            s = s * c1 + c * s1;
            c = next;
        }
        for (ptrdiff_t i = 0; i < n_frequency; i++) {
            ca[i] += ae * cosine[i];
            cb[i] += be * cosine[i];
            sa[i] += ao * sine[i];
            sb[i] += bo * sine[i];
        }
    }
    for (ptrdiff_t i = 0; i < n_frequency; i++) {
        const double plus = (ca[i] - sb[i]) * (ca[i] - sb[i]) + (cb[i] + sa[i]) * (cb[i] + sa[i]);
        const double minus = (ca[i] + sb[i]) * (ca[i] + sb[i]) + (cb[i] - sa[i]) * (cb[i] - sa[i]);
        largest = fmax(largest, fmax(plus, minus));
    }
    return largest / (flux * flux);
}

/* GalSim's maxk [rad/pixel]: one step of its lattice, twice as fine as ours, beyond the last square on which the
 * transform is above the threshold.  Squares between ours are computed only where they decide. */
static double last_square(const struct workspace *w, const struct lattice_tables *t, double flux)
{
    const double threshold = MAXK_THRESHOLD * MAXK_THRESHOLD, step = PI / (double)t->period;
    const ptrdiff_t n_fine = 2 * (t->n_frequency - 1);
    ptrdiff_t last = 0;

    for (ptrdiff_t fine = 0; fine <= n_fine && fine < last + MAXK_SQUARES; fine++) {
        const ptrdiff_t ring = fine / 2;
        if (fine % 2 == 0) {
            if (w->above[ring] > threshold)
                last = fine;
        } else if (w->above[ring + 1] > threshold) {
            continue; /* the next square is above the threshold, whatever this one is */
        } else if (side_power(w, t, (double)fine * step, ring + 1, 1, flux) > threshold ||
                   side_power(w, t, (double)fine * step, ring + 1, 0, flux) > threshold) {
            last = fine;
        }
    }
    return (double)(last + 1) * step;
}

/* Lagrange's cubic through four points, at x from the second. */
static inline void cubic(double x, double *w)
{
    w[0] = -x * (x - 1.0) * (x - 2.0) / 6.0;
    w[1] = (x + 1.0) * (x - 1.0) * (x - 2.0) / 2.0;
    w[2] = -(x + 1.0) * x * (x - 2.0) / 2.0;
    w[3] = (x + 1.0) * x * (x - 1.0) / 6.0;
}

/* Points of the target rules' lattice: labels (tx - 1/2, ty - 1/2) of the wavevectors (tx, ty) dk.
 *
 * The method that these rules reproduce labels its lattice half a step off along both axes. */
struct label_lattice {
    double dk;
    double q[4]; /* of one step along tx and ty: x, y of each, in steps of the plane */
};

/* The real parts of the transform at the n points; 0 outside the plane. */
static void interpolate(const struct plane *plane, const struct label_lattice *lattice, const double *restrict tx,
                        const double *restrict ty, ptrdiff_t n, double *restrict value)
{
    const double *restrict origin = plane_row(plane, 0);
    const double half = (double)plane->half;

    for (ptrdiff_t k = 0; k < n; k++) {
        double x = tx[k] * lattice->q[0] + ty[k] * lattice->q[2];
        double y = tx[k] * lattice->q[1] + ty[k] * lattice->q[3];
        double wx[4], wy[4], sum = 0.0;
        const double sign = y < 0.0 ? -1.0 : 1.0;

        x *= sign;
        y *= sign;
        const int inside = fabs(x) <= half && y <= half;
        x = inside ? x : 0.0;
        y = inside ? y : 0.0;
        const double xi = floor(x), yi = floor(y);
        const double *restrict from = origin + ((ptrdiff_t)yi - 1) * plane->stride + (ptrdiff_t)xi - 1;
        cubic(x - xi, wx);
        cubic(y - yi, wy);
        for (int a = 0; a < 4; a++, from += plane->stride)
            sum += wy[a] * (wx[0] * from[0] + wx[1] * from[1] + wx[2] * from[2] + wx[3] * from[3]);
        value[k] = inside ? sum : 0.0;
    }
}

/* What a ring of labels, all points whose radius rounds to r, holds: the mean of the transform, and the smallest
 * radius at which it is below `low` (infinite if nowhere). */
struct ring {
    double mean, first_below;
};

/* Add n points to a ring. */
static void add_points(const struct plane *plane, const struct label_lattice *lattice, const double *tx,
                       const double *ty, ptrdiff_t n, double low, struct ring *ring)
{
    double value[RING_POINTS];

    interpolate(plane, lattice, tx, ty, n, value);
    for (ptrdiff_t k = 0; k < n; k++) {
        ring->mean += value[k];
        if (value[k] < low)
            ring->first_below = fmin(ring->first_below, hypot(tx[k] - 0.5, ty[k] - 0.5));
    }
}

static struct ring ring_of(const struct plane *plane, const struct label_lattice *lattice, ptrdiff_t r, double low)
{
    double tx[RING_POINTS] = {0}, ty[RING_POINTS] = {0};
    const double inner = ((double)r - 0.5) * ((double)r - 0.5), outer = ((double)r + 0.5) * ((double)r + 0.5);
    struct ring ring = {0.0, INFINITY};
    ptrdiff_t n = 0, count = 0;

    for (ptrdiff_t ix = -r; ix <= r + 1; ix++) {
        const double x = (double)ix - 0.5, from = inner - x * x, to = outer - x * x;
        ptrdiff_t iy = from > 0.0 ? (ptrdiff_t)ceil(sqrt(from) + 0.5) : 1;

        for (; ((double)iy - 0.5) * ((double)iy - 0.5) < to; iy++) {
            /* the labels (x, y) and (x, -y) */
            tx[n] = tx[n + 1] = (double)ix;
            ty[n] = (double)iy;
            ty[n + 1] = 1.0 - (double)iy;
            n += 2;
            count += 2;
            if (n == RING_POINTS) {
                add_points(plane, lattice, tx, ty, n, low, &ring);
                n = 0;
            }
        }
    }
    add_points(plane, lattice, tx, ty, n, low, &ring);
    if (count)
        ring.mean /= (double)count;
    return ring;
}

/* Where to begin: the smallest |k| of the plane's points at which the transform is below `low`, and the radius of a
 * circle with the area of all points that are above `mean`; in steps of dk. */
static void first_look(const struct plane *plane, const double *k_per_step, double dk, double low, double mean,
                       double *smallest, double *radius)
{
    double least = INFINITY, count = 0.0;

    for (ptrdiff_t j = 0; j <= plane->half; j++) {
        const double *restrict row = plane_row(plane, j);
        const double u = k_per_step[1] * (double)j, v = k_per_step[3] * (double)j;
        double row_least = INFINITY, row_count = 0.0;
        for (ptrdiff_t i = -plane->half; i <= plane->half; i++) {
            const double ku = k_per_step[0] * (double)i + u, kv = k_per_step[2] * (double)i + v;
            const double square = ku * ku + kv * kv;
            const double here = row[i] < low ? square : INFINITY;
            row_least = here < row_least ? here : row_least;
            row_count += row[i] >= mean ? 1.0 : 0.0;
        }
        least = fmin(least, row_least);
        count += j ? 2.0 * row_count : row_count;
    }
    *smallest = sqrt(least) / dk;
    *radius = sqrt(count * fabs(k_per_step[0] * k_per_step[3] - k_per_step[1] * k_per_step[2]) / PI) / dk;
}

/* `gauss`: with k_c the smallest labelled wavenumber at which the transform is below 0.01, the target's transform is
 * 0.003 there. */
static double gauss_sigma(const struct plane *plane, const struct label_lattice *lattice, double start)
{
    const ptrdiff_t last = 2 * (ptrdiff_t)(start + 3.0) + 8;

    for (ptrdiff_t r = start > 3.0 ? (ptrdiff_t)start - 2 : 1; r < last; r++) {
        const double radius = ring_of(plane, lattice, r, 0.01).first_below;
        if (radius < INFINITY)
            return sqrt(-2.0 * log(0.003)) / (radius * lattice->dk);
    }
    return NAN;
}

/* `azgauss`: with k_c the wavenumber at which the mean over rings of labels falls through 0.03, log-linearly
 * interpolated, the target's transform is 0.009 there. */
static double azgauss_sigma(const struct plane *plane, const struct label_lattice *lattice, double start)
{
    const double limit = 0.03;
    ptrdiff_t r = start > 2.0 ? (ptrdiff_t)start - 1 : 1;
    double inner = ring_of(plane, lattice, r, limit).mean, outer = NAN, fraction;

    while (inner < limit && r > 1)
        inner = ring_of(plane, lattice, --r, limit).mean;
    if (!(inner >= limit))
        return NAN;
    for (ptrdiff_t last = 2 * r + 8;; inner = outer) {
        outer = ring_of(plane, lattice, ++r, limit).mean;
        if (outer < limit)
            break;
        if (r > last)
            return NAN;
    }
    fraction = outer > 0.0 ? log(inner / limit) / log(inner / outer) : (inner - limit) / (inner - outer);
    return sqrt(-2.0 * log(0.009)) / (((double)(r - 1) + fraction) * lattice->dk);
}

void ISA_NAME(psf_band_find)(const double *psf, const double *jacobian, ptrdiff_t n, enum psf_target target,
                             const void *tables, void *scratch, struct psf_band *band)
{
    const struct lattice_tables t = lattice_tables_view(n, psf_band_period(n), (double *)tables);
    const double ux = jacobian[0], uy = jacobian[1], vx = jacobian[2], vy = jacobian[3];
    const double determinant = ux * vy - uy * vx, dq = 2.0 * PI / (double)t.period;
    const double sum = hypot(ux + vy, uy - vx), difference = hypot(ux - vy, uy + vx);
    const double max_scale = 0.5 * (sum + difference), min_scale = 0.5 * fabs(sum - difference);
    struct workspace w;
    double flux = 0.0, smallest, radius;

    lay_out(n, scratch, &w);
    for (ptrdiff_t i = 0; i < n * n; i++)
        flux += psf[i];
    const struct plane plane = transform(psf, n, flux, &t, &w);
    struct label_lattice lattice;
    lattice.dk = PI / (hypot(flux_radius(psf, n, flux), KERNEL_RANGE) * min_scale) / 4.0;
    lattice.q[0] = ux * lattice.dk / dq;
    lattice.q[1] = uy * lattice.dk / dq;
    lattice.q[2] = vx * lattice.dk / dq;
    lattice.q[3] = vy * lattice.dk / dq;
    const double k_per_step[4] = {dq * vy / determinant, -dq * vx / determinant, -dq * uy / determinant,
                                  dq * ux / determinant};
    band->max_k = last_square(&w, &t, flux) / max_scale;
    band->sigma = NAN;
    if (target == TARGET_NONE)
        return;
    first_look(&plane, k_per_step, lattice.dk, 0.015, 0.03, &smallest, &radius);
    /* A transform that never falls so far within the plane ends at its border. */
    if (!(smallest < INFINITY))
        smallest = PI / (max_scale * lattice.dk);
    band->sigma = target == TARGET_GAUSS ? gauss_sigma(&plane, &lattice, smallest)
                                         : azgauss_sigma(&plane, &lattice, radius);
}
