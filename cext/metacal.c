#include "metacal.h"

#include <math.h>

#include "clones.h"
#include "isa.h"

#define FUNCTIONS(real, isa)                                                                                 \
    {metacal_tables_size_##real##_##isa, metacal_scratch_size_##real##_##isa, metacal_fill_tables_##real##_##isa, \
     metacal_images_##real##_##isa}

struct metacal_functions metacal_select(int isa, int single)
{
    static const struct metacal_functions table[ISA_COUNT][2] = {
        {FUNCTIONS(f64, portable), FUNCTIONS(f32, portable)},
#ifdef HAVE_X86_PATHS
        {FUNCTIONS(f64, avx2), FUNCTIONS(f32, avx2)},
        {FUNCTIONS(f64, avx512), FUNCTIONS(f32, avx512)},
#endif
    };
    return table[isa][single];
}

CLONES
int stamp_finite(const double *stamp, ptrdiff_t n)
{
    int bad = 0;

    for (ptrdiff_t i = 0; i < n * n; i++)
        bad |= !(fabs(stamp[i]) < 1e100);
    return !bad;
}

CLONES
int stamp_usable(const double *psf, const double *jacobian, ptrdiff_t n)
{
    const double area = fabs(jacobian[0] * jacobian[3] - jacobian[1] * jacobian[2]);
    const double square = jacobian[0] * jacobian[0] + jacobian[1] * jacobian[1] + jacobian[2] * jacobian[2] +
                          jacobian[3] * jacobian[3];
    double flux[8] = {0.0}, total[8] = {0.0};

    if (!stamp_finite(psf, n) || !(area > 1e-4 * square) || !isfinite(square) || !(area > 1e-200))
        return 0;
    for (ptrdiff_t i = 0; i + 8 <= n * n; i += 8)
        for (int l = 0; l < 8; l++) {
            flux[l] += psf[i + l];
            total[l] += fabs(psf[i + l]);
        }
    for (ptrdiff_t i = n * n / 8 * 8; i < n * n; i++) {
        flux[0] += psf[i];
        total[0] += fabs(psf[i]);
    }
    for (int l = 1; l < 8; l++) {
        flux[0] += flux[l];
        total[0] += total[l];
    }
    return flux[0] > 0.0 && flux[0] > 1e-6 * total[0];
}
