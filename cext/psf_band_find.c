#define REAL double
#define REAL_MASK int64_t
#include "isa.h"
#include "lattice.h"
#include "psf_band.h"

/* Part of the flux outside the box that sets the lattice of the target rules, and the range of the interpolating
 * kernel that adds to it [pixel] (GalSim's folding_threshold and lanczos15). */
#define FOLDING 5e-3
#define KERNEL_RANGE 15.0

/* Relative value above which the transform counts for max_k (GalSim's maxk_threshold), and how many squares in a row
 * have to be below, the last one above counted, before the search ends. */
#define MAXK_THRESHOLD 1e-3
#define MAXK_SQUARES 5

/* Rows beta that are transformed together. */
#define ROWS 3

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
    double *turned;   /* [ROWS][4][TURNED_ROW] */
    double *minus, *power; /* [ROWS][alpha] */
    double *plane;
    double *above;    /* [ring of the lattice]: largest |P|^2 on the square |i| or |j| = ring */
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
    ARRAY(turned, ROWS * 4 * TURNED_ROW);
    ARRAY(minus, ROWS * alpha);
    ARRAY(power, ROWS * alpha);
    ARRAY(plane, (period / 2 + 6) * round_up(period + 7 + LANES, LANES));
    ARRAY(above, period / 2 + 1);
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
        double top = 0.0, right = 0.0, bottom = 0.0, left = 0.0; /* each with one corner */
        for (ptrdiff_t x = -d; x < d; x++) {
            top += psf[(c - d) * n + c + x];
            right += psf[(c + x) * n + c + d];
            bottom += psf[(c + d) * n + c - x];
            left += psf[(c - x) * n + c - d];
        }
        inside += (top + bottom) + (left + right);
        if (inside >= (1.0 - FOLDING) * flux)
            break;
    }
    return (double)d + 0.5;
}

static inline double *plane_row(const struct plane *plane, ptrdiff_t j)
{
    return plane->value + (j + 2) * plane->stride + plane->half + 3;
}

/* Put the values at negative alpha into a row of the plane, and |P|^2 into the squares. */
static void finish_row(double *restrict row, ptrdiff_t half, ptrdiff_t j, const double *restrict minus,
                       const double *restrict power, double *restrict above)
{
    double largest = above[j];

    for (ptrdiff_t i = half + 1; i < half + 4; i++)
        row[i] = 0.0;
    for (ptrdiff_t i = 1; i <= half; i++)
        row[-i] = minus[i];
    for (ptrdiff_t i = 0; i <= j; i++)
        largest = power[i] > largest ? power[i] : largest;
    above[j] = largest;
    for (ptrdiff_t i = j + 1; i <= half; i++)
        above[i] = power[i] > above[i] ? power[i] : above[i];
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
    fold(psf, n, 1, n, t->h_padded, w->folded, w->folded + t->h * width, width);
    matrix_product(t->cos_y, t->h_padded, w->folded, width, t->n_frequency, t->h, width, w->half_re, width);
    matrix_product(t->sin_y, t->h_padded, w->folded + t->h * width, width, t->n_frequency, t->h, width, w->half_im,
                   width);
    for (ptrdiff_t first = 0; first <= half; first += ROWS) {
        for (ptrdiff_t r = 0; r < ROWS; r++) {
            /* rows beyond the last are padding of the half-transforms */
            const double *re = w->half_re + (first + r) * width, *im = w->half_im + (first + r) * width;
            double *to = w->turned + 4 * r * TURNED_ROW;
            memcpy(to, re, (size_t)t->h_padded * sizeof(double));
            memcpy(to + TURNED_ROW, im, (size_t)t->h_padded * sizeof(double));
            memcpy(to + 2 * TURNED_ROW, re + t->h_padded, (size_t)t->h_padded * sizeof(double));
            memcpy(to + 3 * TURNED_ROW, im + t->h_padded, (size_t)t->h_padded * sizeof(double));
        }
        for (ptrdiff_t at = 0; at <= half; at += LANES) {
            vreal sum[ROWS][4];

            transform_vector(w->turned, t->h, t->cos_x + at, t->sin_x + at, t->n_frequency_padded, ROWS,
                             sum);
            for (int r = 0; r < ROWS && first + r <= half; r++) {
                const vreal er = sum[r][0], ei = sum[r][1], dr = sum[r][2], di = sum[r][3];
                const vreal plus = (er + di) * scale, minus = (er - di) * scale;
                const vreal plus_im = (ei - dr) * scale, minus_im = (ei + dr) * scale;
                const vreal plus_power = plus * plus + plus_im * plus_im;
                const vreal minus_power = minus * minus + minus_im * minus_im;
                vdouble_store(plane_row(&plane, first + r) + at, plus);
                store(w->minus + r * stride + at, minus);
                store(w->power + r * stride + at, choose(plus_power > minus_power, plus_power, minus_power));
            }
        }
        for (ptrdiff_t j = first; j < first + ROWS && j <= half; j++)
            finish_row(plane_row(&plane, j), half, j, w->minus + (j - first) * stride, w->power + (j - first) * stride,
                       w->above);
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

/* The largest |P|^2 over flux^2 on the sides of the square at frequency q along alpha or along beta. */
static double side_power(const struct workspace *w, const struct lattice_tables *t, double q, ptrdiff_t n_frequency,
                         int along_x, double flux)
{
    const ptrdiff_t width = 2 * t->h_padded, stride = t->n_frequency_padded, h_padded = t->h_padded;
    const double *even_y = w->folded, *odd_y = even_y + t->h * width;
    double *wave = w->turned, *line = wave + 2 * h_padded; /* cosines, sines of q; four sums along the side */
    vreal largest = all(0), lane;

    for (int l = 0; l < (int)LANES; l++)
        lane[l] = (double)l;
    wave[0] = 1.0;
    wave[h_padded] = 0.0;
    const double c1 = cos(q), s1 = sin(q);
    for (ptrdiff_t u = 1; u < h_padded; u++) {
        wave[u] = wave[u - 1] * c1 - wave[h_padded + u - 1] * s1;
        wave[h_padded + u] = wave[h_padded + u - 1] * c1 + wave[u - 1] * s1;
    }
    /* line: even or odd along the side, summed across it with cosines (even across) or sines (odd across) */
    memset(line, 0, (size_t)(4 * h_padded) * sizeof(double));
    for (ptrdiff_t v = 0; v < t->h; v++) {
        const double *ey = even_y + v * width, *oy = odd_y + v * width;
        if (along_x) {
            vreal sum[4] = {all(0), all(0), all(0), all(0)};
            for (ptrdiff_t u = 0; u < h_padded; u += LANES) {
                const vreal c = load(wave + u), s = load(wave + h_padded + u);
                sum[0] += load(ey + u) * c;
                sum[1] += load(ey + h_padded + u) * s;
                sum[2] += load(oy + u) * c;
                sum[3] += load(oy + h_padded + u) * s;
            }
            for (int k = 0; k < 4; k++)
                line[k * h_padded + v] = vdouble_sum(sum[k]);
        } else {
            const vreal c = all(wave[v]), s = all(wave[h_padded + v]);
            for (ptrdiff_t u = 0; u < h_padded; u += LANES) {
                store(line + u, load(line + u) + load(ey + u) * c);
                store(line + h_padded + u, load(line + h_padded + u) + load(oy + u) * s);
                store(line + 2 * h_padded + u, load(line + 2 * h_padded + u) + load(ey + h_padded + u) * c);
                store(line + 3 * h_padded + u, load(line + 3 * h_padded + u) + load(oy + h_padded + u) * s);
            }
        }
    }
    for (ptrdiff_t at = 0; at < n_frequency; at += LANES) {
        vreal ca = all(0), cb = all(0), sa = all(0), sb = all(0);
        for (ptrdiff_t v = 0; v < t->h; v++) {
            const vreal cosine = load(t->cos_x + v * stride + at), sine = load(t->sin_x + v * stride + at);
            ca += all(line[v]) * cosine;
            cb += all(line[h_padded + v]) * cosine;
            sa += all(line[2 * h_padded + v]) * sine;
            sb += all(line[3 * h_padded + v]) * sine;
        }
        const vreal plus = (ca - sb) * (ca - sb) + (cb + sa) * (cb + sa);
        const vreal minus = (ca + sb) * (ca + sb) + (cb - sa) * (cb - sa);
        const vmask there = lane + (double)at < all((double)n_frequency);
        largest = choose(there & (plus > largest), plus, largest);
        largest = choose(there & (minus > largest), minus, largest);
    }
    double most = 0.0;
    for (int l = 0; l < (int)LANES; l++)
        most = fmax(most, largest[l]);
    return most / (flux * flux);
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
    const vreal far = all(INFINITY);
    vreal least = far, count = all(0), lane;
    double nearest = INFINITY, area;

    for (int l = 0; l < (int)LANES; l++)
        lane[l] = (double)l;
    for (ptrdiff_t j = 0; j <= plane->half; j++) {
        const double *row = plane_row(plane, j);
        const double u = k_per_step[1] * (double)j, v = k_per_step[3] * (double)j;
        vreal in_row = all(0);
        for (ptrdiff_t i = -plane->half; i <= plane->half; i += LANES) {
            const vreal index = lane + (double)i, value = vdouble_load(row + i);
            const vreal ku = index * k_per_step[0] + u, kv = index * k_per_step[2] + v;
            const vreal square = ku * ku + kv * kv;
            const vmask there = index <= all((double)plane->half);
            least = choose(there & (value < all(low)) & (square < least), square, least);
            in_row += choose(there & (value >= all(mean)), all(1.0), all(0));
        }
        count += j ? 2.0 * in_row : in_row;
    }
    for (int l = 0; l < (int)LANES; l++)
        nearest = fmin(nearest, least[l]);
    area = vdouble_sum(count) * fabs(k_per_step[0] * k_per_step[3] - k_per_step[1] * k_per_step[2]);
    *smallest = sqrt(nearest) / dk;
    *radius = sqrt(area / PI) / dk;
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
    ptrdiff_t r = start > 1.0 ? (ptrdiff_t)start : 1;
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
    const double flux = vdouble_total(psf, n * n);
    struct workspace w;
    double smallest, radius;

    lay_out(n, scratch, &w);
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
