#include "psf_taps.h"

#include <math.h>
#include <string.h>

#include "clones.h"

#define PI 3.14159265358979323846

/* A fraction below this [sample] is none: it is rounding of the position. */
#define ON_SAMPLE 1e-14
/* Steps this near to a whole number of samples are one: over 1000 pixels the position changes by 1e-9. */
#define WHOLE_STEP 1e-12
/* Farther from a model than this [sample] there is nothing to interpolate, and indices still fit. */
#define FAR 1e9

static const struct {
    const char *name;
    int half; /* half width [sample] */
    int kaiser; /* the window is Kaiser's, not Lanczos' */
} table[PSF_INTERPOLANTS] = {
    {"lanczos3", 3, 0}, {"lanczos4", 4, 0}, {"lanczos5", 5, 0}, {"lanczos7", 7, 0}, {"kaiser6", 6, 1},
};

const char *psf_interpolant_name(int interpolant)
{
    return interpolant >= 0 && interpolant < PSF_INTERPOLANTS ? table[interpolant].name : NULL;
}

/* sin(pi t) for t in [0, 1], to rounding: a Taylor series, so that the bits do not depend on the libm. */
static inline double sin_pi(double t)
{
    double r = t > 0.5 ? 1.0 - t : t, z = (PI * PI) * (r * r), s = 1.0;

    for (int n = 10; n >= 1; n--)
        s = 1.0 - s * (z * (1.0 / (2 * n * (2 * n + 1))));
    return PI * r * s;
}

/* Kaiser's window I0(beta sqrt(1 - t^2)), beta = 6.5, for t in [0, 1], to rounding: the series of I0. */
static inline double kaiser(double t)
{
    double u = (6.5 * 6.5 / 4.0) * (1.0 - t * t), s = 1.0;

    for (int n = 20; n >= 1; n--)
        s = 1.0 + s * (u * (1.0 / (n * n)));
    return s;
}

/* Normalised weights of the samples at 1 - half .. half for a position at 0 < fraction < 1.
 *
 * With d the distance to a sample, sinc(d) is proportional to +-1/d with alternating signs: sin(pi fraction)/pi is the
 * same for all and falls out of the normalisation.  All the room is computed, so that vectors are full. */
CLONES
static void weights(int interpolant, double fraction, double *restrict weight)
{
    const int half = table[interpolant].half;
    const double inverse = 1.0 / half;
    double sum = 0.0;

    if (table[interpolant].kaiser) {
        for (int k = 0; k < PSF_TAPS_ROOM; k++) {
            double d = fraction + (double)(half - 1 - k);
            weight[k] = kaiser(fabs(d) * inverse) / d;
        }
    } else {
        for (int k = 0; k < PSF_TAPS_ROOM; k++) {
            double d = fraction + (double)(half - 1 - k);
            weight[k] = sin_pi(fabs(d) * inverse) / (d * fabs(d));
        }
    }
    for (int k = 1; k < PSF_TAPS_ROOM; k += 2)
        weight[k] = -weight[k];
    for (int k = 0; k < 2 * half; k++)
        sum += weight[k];
    for (int k = 0; k < PSF_TAPS_ROOM; k++)
        weight[k] /= sum;
}

/* The samples around a position, also those outside the model. */
static void place(int interpolant, double position, struct psf_taps *taps)
{
    const int half = table[interpolant].half;
    double whole = floor(position), fraction = position - whole;

    if (fraction > 1.0 - ON_SAMPLE) {
        whole += 1.0;
        fraction = 0.0;
    }
    if (fraction < ON_SAMPLE) {
        taps->first = (ptrdiff_t)whole;
        taps->n = 1;
        taps->weight[0] = 1.0;
    } else {
        taps->first = (ptrdiff_t)whole - half + 1;
        taps->n = 2 * half;
        weights(interpolant, fraction, taps->weight);
    }
}

static double position_of(const struct psf_axis *axis, ptrdiff_t pixel)
{
    return (((double)pixel - axis->half_stamp) - axis->offset) / axis->sampling + axis->half_model;
}

int psf_axis_make(int interpolant, ptrdiff_t n_sample, double sampling, double offset, ptrdiff_t size,
                  struct psf_axis *axis)
{
    double step = 1.0 / sampling, whole = rint(step), first, last;

    axis->interpolant = interpolant;
    axis->n_sample = n_sample;
    axis->sampling = sampling;
    axis->offset = offset;
    axis->half_model = 0.5 * (double)(n_sample - 1);
    axis->half_stamp = (double)(size / 2);
    axis->whole_step = 0;
    first = position_of(axis, 0);
    last = position_of(axis, size - 1);
    if (!(fabs(first) < FAR && fabs(last) < FAR))
        return 0;
    if (whole >= 1.0 && fabs(step - whole) < WHOLE_STEP) {
        axis->whole_step = (ptrdiff_t)whole;
        place(interpolant, (-axis->half_stamp - offset) * whole + axis->half_model, &axis->shared);
    }
    return 1;
}

void psf_axis_taps(const struct psf_axis *axis, ptrdiff_t pixel, struct psf_taps *taps)
{
    ptrdiff_t skip;

    if (axis->whole_step > 0) {
        *taps = axis->shared;
        taps->first += pixel * axis->whole_step;
    } else {
        place(axis->interpolant, position_of(axis, pixel), taps);
    }
    skip = taps->first < 0 ? -taps->first : 0;
    if (skip >= taps->n || taps->first >= axis->n_sample) {
        taps->first = taps->n = 0;
        return;
    }
    if (skip > 0) {
        taps->first = 0;
        taps->n -= skip;
        memmove(taps->weight, taps->weight + skip, (size_t)taps->n * sizeof(double));
    }
    if (taps->n > axis->n_sample - taps->first)
        taps->n = axis->n_sample - taps->first;
}
