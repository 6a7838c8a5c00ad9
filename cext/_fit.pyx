# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: freethreading_compatible=True, embedsignature=True
"""Joint fits of Gaussian galaxy models to all epochs of many objects.

One call does a whole batch.  There is no state; the GIL is released for the arithmetic, and an object depends
neither on the number of threads nor on what else is in the batch.
"""

from cython.parallel cimport prange, threadid
from libc.stdint cimport int32_t, int64_t

import numpy as np

cdef extern from "isa.h" nogil:
    int isa_find(const char *name) noexcept

cdef extern from "fit.h" nogil:
    enum: FIT_MAX_COMPONENTS

    ctypedef struct fit_model:
        int n
        double *flux
        double *size

    ctypedef struct fit_settings:
        fit_model model
        double centre_sigma, g_sigma, T_min, T_max, flux_min, flux_max, tolerance
        int with_prior, max_evaluations, n_try, isa

    ctypedef struct fit_object:
        Py_ssize_t n_epoch, n_type, ny, nx
        const double *image
        const double *weight
        const double *jacobian
        const double *origin
        const double *sigma
        const double *start

    ctypedef struct fit_result:
        double *parameters
        double *errors
        double *covariance
        double *s2n
        int32_t *flags
        int32_t *n_evaluation

    Py_ssize_t fit_scratch_size(Py_ssize_t n_epoch, Py_ssize_t ny, Py_ssize_t nx) noexcept
    void fit_run(const fit_object *object, const fit_settings *settings, double *scratch,
                 const fit_result *result) noexcept


cdef void _run(const double *images, const double *weights, const double *jacobians, const double *origins,
               const double *sigma, const int64_t *first, const double *start, Py_ssize_t i, fit_object proto,
               const fit_settings *settings, double *scratch, double *parameters, double *errors,
               double *covariance, double *s2n, int32_t *flags, int32_t *n_evaluation) noexcept nogil:
    """Fit object i of the batch."""
    cdef Py_ssize_t epoch = first[i], n_pixel = proto.ny * proto.nx, t = i * proto.n_type
    cdef fit_result result
    proto.n_epoch = first[i + 1] - epoch
    proto.image = images + epoch * proto.n_type * n_pixel
    proto.weight = weights + epoch * n_pixel
    proto.jacobian = jacobians + epoch * 4
    proto.origin = origins + epoch * proto.n_type * 2
    proto.sigma = sigma + epoch
    proto.start = start + i * 6
    result.parameters = parameters + t * 6
    result.errors = errors + t * 6
    result.covariance = covariance + t * 36
    result.s2n = s2n + t
    result.flags = flags + t
    result.n_evaluation = n_evaluation + t
    fit_run(&proto, settings, scratch, &result)


def fit(const double[:, :, :, ::1] images, const double[:, :, ::1] weights, const double[:, ::1] jacobians,
        const double[:, :, ::1] origins, const double[::1] sigma, const int64_t[::1] first,
        const double[:, ::1] start, *, const double[::1] flux_fractions, const double[::1] size_fractions,
        bint with_prior=True, double centre_prior_sigma, double g_prior_sigma, double T_min, double T_max,
        double flux_min, double flux_max, double tolerance, int max_evaluations, int n_try=3, str isa="auto",
        int n_threads=1):
    """
    Fit one galaxy model to all epochs of each object.

    The model before the PSF is the same in all epochs of an object, in the plane (u West, v North): Gaussians of
    one centre and one shape.  The PSF is a round Gaussian.  A pixel's value is the convolved model's surface
    brightness at its centre times its area, so that fluxes are in counts.  Several types of images share weights,
    Jacobians and PSF (metacalibration): the fits of all but type 0 start from the solution of type 0.

    Parameters
    ----------
    images : ndarray of float64 [n_epoch, n_type, y, x]
        Stamps of all epochs of all objects, C-contiguous like everything else.
    weights : ndarray of float64 [n_epoch, y, x]
        Inverse variance; a pixel counts where it is positive, whatever the image holds elsewhere.
    jacobians : ndarray of float64 [n_epoch, 4]
        dudx, dudy, dvdx, dvdy [arcsec/pixel].
    origins : ndarray of float64 [n_epoch, n_type, 2]
        u, v [arcsec] of the origin of the parameters, from the centre of the stamp ((nx - 1)/2, (ny - 1)/2).
    sigma : ndarray of float64 [n_epoch]
        Sigma of the round Gaussian PSF [arcsec]; 0 fits the image as it is.
    first : ndarray of int64 [n_object + 1]
        Object i has the epochs first[i] to first[i + 1] - 1.
    start : ndarray of float64 [n_object, 6]
        v, u [arcsec], g1, g2, T [arcsec^2], flux [counts] at which type 0 starts; a flux of NaN means any.
    flux_fractions, size_fractions : ndarray of float64 [n_component]
        Each component's fraction of the flux and ratio of its T to the model's.
    with_prior : bool, optional
        False leaves out the priors on centre and shape.
    centre_prior_sigma, g_prior_sigma : float
        Widths of the priors: Gaussian in v and u [arcsec]; (1 - g^2)^2 exp(-g^2/(2 s^2)).
    T_min, T_max, flux_min, flux_max : float
        Allowed ranges [arcsec^2], [counts].
    tolerance : float
        A fit ends with the step that lowers chi^2, in units of the residuals' variance, by less than this.
    max_evaluations : int
        Evaluations of the model in one try.
    n_try : int, optional
        Tries from other sizes after a failure, 1 to 5.
    isa : str, optional
        Instruction set, see `shapempi.kernels._isa.available`.
    n_threads : int, optional
        Threads; the result does not depend on it.

    Returns
    -------
    parameters, errors : ndarray of float64 [n_object, n_type, 6]
        The solutions; NaN where flags are set.
    covariance : ndarray of float64 [n_object, n_type, 6, 6]
        Covariance of the parameters, scaled by the variance of the residuals.
    s2n : ndarray of float64 [n_object, n_type]
        sum(w d m)/sqrt(sum(w m^2)) of data d and model m.
    flags : ndarray of int32 [n_object, n_type]
        Bits as in `shapempi.measure.fit.FitFlag`; 0 is good.
    n_evaluation : ndarray of int32 [n_object, n_type]
        Evaluations of the model, all tries together.

    Raises
    ------
    ValueError
        If the shapes do not fit each other, or a setting is out of its range.
    """
    cdef Py_ssize_t n_object = start.shape[0], n_epoch = images.shape[0], n_type = images.shape[1], i, longest = 0
    cdef Py_ssize_t n_component = flux_fractions.shape[0]
    cdef fit_settings settings
    cdef fit_object proto
    if not (weights.shape[0] == jacobians.shape[0] == origins.shape[0] == sigma.shape[0] == n_epoch):
        raise ValueError(f"numbers of epochs differ: {n_epoch} images, {weights.shape[0]} weights, "
                         f"{jacobians.shape[0]} jacobians, {origins.shape[0]} origins, {sigma.shape[0]} sigma")
    if not (weights.shape[1] == images.shape[2] and weights.shape[2] == images.shape[3]):
        raise ValueError(f"weights are {weights.shape[1]} x {weights.shape[2]} pixels, "
                         f"images {images.shape[2]} x {images.shape[3]}")
    if images.shape[2] < 1 or images.shape[3] < 1 or n_type < 1:
        raise ValueError("images must have at least one type and one pixel")
    if jacobians.shape[1] != 4 or origins.shape[1] != n_type or origins.shape[2] != 2 or start.shape[1] != 6:
        raise ValueError(f"jacobians must be [n_epoch, 4], origins [n_epoch, {n_type}, 2] and start [n_object, 6]")
    if first.shape[0] != n_object + 1:
        raise ValueError(f"first must have {n_object + 1} elements, has {first.shape[0]}")
    for i in range(n_object):
        if not 0 <= first[i] <= first[i + 1] <= n_epoch:
            raise ValueError(f"first must ascend from 0 to at most {n_epoch}, not {first[i]}, {first[i + 1]}")
        longest = max(longest, first[i + 1] - first[i])
    if not (1 <= n_component <= FIT_MAX_COMPONENTS and size_fractions.shape[0] == n_component):
        raise ValueError(f"flux_fractions and size_fractions must both have 1 to {FIT_MAX_COMPONENTS} elements")
    if not (centre_prior_sigma > 0 and g_prior_sigma > 0 and tolerance > 0 and max_evaluations > 0):
        raise ValueError("prior widths, tolerance and max_evaluations must be positive")
    if not (T_min <= T_max and flux_min <= flux_max):
        raise ValueError("T_min and flux_min must not be larger than T_max and flux_max")
    if not 1 <= n_try <= 5:
        raise ValueError(f"n_try must be 1 to 5, not {n_try}")
    if n_threads < 1:
        raise ValueError(f"n_threads must be positive, not {n_threads}")
    settings.isa = isa_find(isa.encode())
    if settings.isa < 0:
        raise ValueError(f"no instruction set {isa!r} here")

    settings.model.n = <int>n_component
    for i in range(n_component):
        if not (size_fractions[i] > 0 and flux_fractions[i] > 0):
            raise ValueError("flux_fractions and size_fractions must be positive")
        settings.model.flux[i] = flux_fractions[i]
        settings.model.size[i] = size_fractions[i]
    settings.with_prior = with_prior
    settings.centre_sigma, settings.g_sigma = centre_prior_sigma, g_prior_sigma
    settings.T_min, settings.T_max = T_min, T_max
    settings.flux_min, settings.flux_max = flux_min, flux_max
    settings.tolerance, settings.max_evaluations, settings.n_try = tolerance, max_evaluations, n_try

    result = (np.empty((n_object, n_type, 6)), np.empty((n_object, n_type, 6)), np.empty((n_object, n_type, 6, 6)),
              np.empty((n_object, n_type)), np.empty((n_object, n_type), np.int32),
              np.empty((n_object, n_type), np.int32))
    cdef double[:, :, ::1] parameters = result[0], errors = result[1]
    cdef double[:, :, :, ::1] covariance = result[2]
    cdef double[:, ::1] s2n = result[3]
    cdef int32_t[:, ::1] flags = result[4], n_evaluation = result[5]
    if n_object == 0:
        return result
    proto.n_type, proto.ny, proto.nx = n_type, images.shape[2], images.shape[3]
    cdef double[:, ::1] scratch = np.empty((n_threads, fit_scratch_size(longest, proto.ny, proto.nx)))
    for i in prange(n_object, nogil=True, num_threads=n_threads, schedule="dynamic"):
        _run(&images[0, 0, 0, 0], &weights[0, 0, 0], &jacobians[0, 0], &origins[0, 0, 0], &sigma[0], &first[0],
             &start[0, 0], i, proto, &settings, &scratch[threadid(), 0], &parameters[0, 0, 0], &errors[0, 0, 0],
             &covariance[0, 0, 0, 0], &s2n[0, 0], &flags[0, 0], &n_evaluation[0, 0])
    return result
