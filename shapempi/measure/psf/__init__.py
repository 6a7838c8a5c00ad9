"""PSF models of a CCD: what an engine is given and returns, the fit in process, and the comparison with stars."""
