"""shapempi: from calibrated survey images to weak-lensing shear catalogues in one `mpirun`."""

__version__ = "0.1.0"
