"""A crowded sky under constant shear, positions included, in memory: exposures, coadd, detections, true segments."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import galsim
import numpy as np

from shapempi.image import Image
from shapempi.measure.detect import detect
from shapempi.measure.epochs import find_epochs
from shapempi.measure.neighbours import TileSegmentation
from shapempi.measure.pixel_source import ArraySource, Frame
from shapempi.measure.vignets import CcdSection
from shapempi.psf import PsfModel
from shapempi.sim.coadd import coadd
from shapempi.sim.detector import read_out
from shapempi.sim.draw import draw_ccd
from shapempi.sim.headers import TILE_ZERO_POINT
from shapempi.sim.params import (
    CameraParams,
    DefectParams,
    GalaxyParams,
    PointingParams,
    PsfFieldParams,
    SimulationParams,
    StarFieldParams,
)
from shapempi.sim.plan import SurveyPlan, ccd_shape, datasec, plan_survey
from shapempi.sim.scene import SCENE_DTYPE, add_shears
from shapempi.stages.tile import TileDetectionParams

#: Side of the true light's stamps on the tile, and of the PSF's stamps [pixel].
TRUE_SIZE, PSF_SIZE = 41, 51

#: Side of a cell [pixel of the tile]: no stamp reaches into the middle of the next one.
SPACING = 84

#: A galaxy of a cell: where it is from the middle [arcsec, u West, v North], whether it is the one in the middle, and
#: in cells of two galaxies their separation [arcsec] and the other one's relative flux.
CELL_DTYPE = np.dtype(
    [("cell", "i8"), ("main", "?"), ("separation", "f8"), ("ratio", "f8")]
    + [(name, "f8") for name in ("u", "v", "mag", "hlr", "g1_int", "g2_int")]
)

#: Galaxies fainter than this have no pixels in the true segmentation.
FAINTEST = 25.0


def survey(seed, size=2000, **galaxies):
    """Parameters of a tile at the depth of CFIS, of galaxies only, under one PSF; the rest as delivered."""
    return SimulationParams(
        seed=seed,
        noise_seed=seed + 1_000_000,
        tile_size=size,
        camera=CameraParams(ccd_width=700, ccd_height=1050, overscan_x=4, overscan_y=4, gap_x=24, gap_y=24),
        pointing=PointingParams(dither_radius=20.0, sky_residual=0.0),
        psf=PsfFieldParams(constant=True, g1=0.02, g2=-0.01),
        galaxies=GalaxyParams(**galaxies),
        stars=StarFieldParams(density=0.0),
        defects=DefectParams(cosmic_density=0.0, bad_columns=0.0),
    )


@dataclass(frozen=True)
class Crowd:
    """An image of a crowded sky and what is known about it.

    Attributes
    ----------
    params, plan : the survey and its tile
    scene : true galaxies at their sheared places
    sections : CCDs as vignets want them
    images : CCDs as coadds want them
    """

    params: SimulationParams
    plan: SurveyPlan
    scene: np.ndarray
    sections: list[CcdSection]
    images: list[Image]

    @cached_property
    def tile(self):
        """The coadd and its weight."""
        return coadd(self.images, self.wcs, self.params.tile_size)

    @property
    def wcs(self):
        """WCS of the tile."""
        return self.plan.tiles[0].wcs

    def detected(self):
        """Numbers, segmentation and epochs of what the chain detects on the coadd, and the table."""
        gain = sum(self.params.camera.gain / exposure.flux_scale for exposure in self.plan.exposures)
        data, weight = self.tile
        source = ArraySource(data, weight, np.zeros(data.shape, np.int16))
        frame = Frame(self.wcs, gain, saturate=np.inf, mag_zp=TILE_ZERO_POINT)
        found = detect(source, frame, TileDetectionParams())
        table = found.table
        x, y = table["XWIN_IMAGE"] - 1.0, table["YWIN_IMAGE"] - 1.0
        segmentation = TileSegmentation(found.segmentation, (0, 0), self.wcs, x, y)
        return table["NUMBER"], segmentation, self._epochs(table["XWIN_WORLD"], table["YWIN_WORLD"]), table

    def alone(self):
        """The same for all true galaxies, without segments."""
        x, y = self.wcs.sky_to_pixel(self.scene["ra"], self.scene["dec"])
        nothing = np.zeros((self.params.tile_size, self.params.tile_size), np.int32)
        segmentation = TileSegmentation(nothing, (0, 0), self.wcs, x, y)
        number = np.arange(1, len(x) + 1, dtype=np.int32)
        return number, segmentation, self._epochs(self.scene["ra"], self.scene["dec"]), self.scene

    def true(self, faintest):
        """The same for the true galaxies down to a magnitude: a pixel is that of the galaxy with the most light in it.

        It must be more than the detection's threshold, and every galaxy has the pixel that its centre is in.
        """
        x, y = self.wcs.sky_to_pixel(self.scene["ra"], self.scene["dec"])
        plane = self._brightest(x, y)
        rows = np.flatnonzero(self.scene["mag"] < faintest)
        segmentation = TileSegmentation(plane, (0, 0), self.wcs, x[rows], y[rows])
        epochs = self._epochs(self.scene["ra"][rows], self.scene["dec"][rows])
        return (rows + 1).astype(np.int32), segmentation, epochs, self.scene[rows]

    def _epochs(self, ra, dec):
        ccds = [(section.ccd, section.wcs, section.valid_box) for section in self.sections]
        return find_epochs(ra, dec, ccds)

    def _brightest(self, x, y):
        """The galaxy that is the brightest in each pixel of the tile, by row + 1; 0 below the threshold."""
        size, half = self.params.tile_size, TRUE_SIZE // 2
        good = self.tile[1][self.tile[1] > 0]
        most = np.full((size + 2 * half, size + 2 * half), 1.5 / np.sqrt(np.median(good)))
        plane = np.zeros(most.shape, np.int32)
        psf = galsim.Moffat(beta=self.params.psf.beta, fwhm=self.params.psf.fwhm)
        psf = psf.shear(g1=self.params.psf.g1, g2=self.params.psf.g2)
        wcs = galsim.JacobianWCS(*self.wcs.jacobian((size - 1) / 2, (size - 1) / 2)[0])
        g1, g2 = add_shears(self.scene)
        for i in np.flatnonzero((self.scene["mag"] < FAINTEST) & (np.abs(x - size / 2) < size / 2 + half)):
            column, row = int(np.rint(x[i])), int(np.rint(y[i]))
            if not (0 <= row < size and 0 <= column < size):
                continue
            light = galsim.Convolve(profile(self.scene[i], g1[i], g2[i]), psf)
            light = light.withFlux(10 ** (-0.4 * (self.scene["mag"][i] - TILE_ZERO_POINT)))
            stamp = light.drawImage(
                nx=TRUE_SIZE, ny=TRUE_SIZE, wcs=wcs, offset=(x[i] - column, y[i] - row), dtype=float
            ).array
            here = np.s_[row : row + TRUE_SIZE, column : column + TRUE_SIZE]
            brighter = stamp > most[here]
            most[here][brighter] = stamp[brighter]
            plane[here][brighter] = i + 1
        return np.ascontiguousarray(plane[half:-half, half:-half])


def profile(row, g1, g2):
    """The galaxy without a PSF, of unit flux."""
    return galsim.Exponential(half_light_radius=float(row["hlr"])).shear(g1=float(g1), g2=float(g2))


def survey_cells(params, spacing):
    """Centres [pixel, n, 2] of the cells that the tile is divided into, an even number of them."""
    n = params.tile_size // spacing
    start = (params.tile_size - 1) / 2 - spacing * (n - 1) / 2
    centres = start + spacing * np.stack(np.meshgrid(np.arange(n), np.arange(n)), axis=-1).reshape(-1, 2)
    return centres[: len(centres) // 2 * 2]


def random_cells(params, mag, spacing=SPACING):
    """A galaxy in the middle of each cell, and others around it at random, as many as there are on the sky.

    Returns rows of CELL_DTYPE: in every second cell is that of the one before, turned by 90 degrees.
    """
    rng = np.random.default_rng([params.seed, 76])
    n = len(survey_cells(params, spacing)) // 2
    area = (spacing * params.tile_pixel_scale / 60) ** 2
    number = rng.poisson(params.galaxies.density * area, n)
    owner = np.concatenate([np.arange(n), np.repeat(np.arange(n), number)])
    rows = draw_galaxies(rng, len(owner), params.galaxies)
    rows["cell"] = owner
    rows["main"][:n] = True
    middle = draw_galaxies(rng, n, params.galaxies.model_copy(update={"mag_bright": mag[0], "mag_faint": mag[1]}))
    for name in ("mag", "hlr"):
        rows[name][:n] = middle[name]
    half = 0.5 * spacing * params.tile_pixel_scale
    rows["u"][n:], rows["v"][n:] = rng.uniform(-half, half, (2, len(rows) - n))
    return turned_too(rows)


def pair_cells(params, separations, ratios, mag, spacing=SPACING):
    """A galaxy in the middle of each cell with one companion, all combinations in turn; otherwise as `random_cells`."""
    rng = np.random.default_rng([params.seed, 77])
    n = len(survey_cells(params, spacing)) // 2
    kinds = np.array([(s, f) for s in separations for f in ratios])
    kind = kinds[(rng.integers(len(kinds)) + np.arange(n)) % len(kinds)]
    bright = params.galaxies.model_copy(update={"mag_bright": mag[0], "mag_faint": mag[1]})
    rows = np.concatenate([draw_galaxies(rng, n, bright), draw_galaxies(rng, n, bright)])
    rows["cell"] = np.tile(np.arange(n), 2)
    rows["main"][:n] = True
    rows["separation"], rows["ratio"] = np.tile(kind, (2, 1)).T
    rows["mag"][n:] = rows["mag"][:n] - 2.5 * np.log10(kind[:, 1])
    rows["hlr"][n:] = np.maximum(rows["hlr"][n:] * 1.0, params.galaxies.size_min)
    angle = rng.uniform(0, 2 * np.pi, n)
    rows["u"][n:], rows["v"][n:] = kind[:, 0] * np.cos(angle), kind[:, 0] * np.sin(angle)
    return turned_too(rows)


def draw_galaxies(rng, n, galaxies):
    """Magnitudes, sizes and intrinsic shapes of galaxies, as rows of CELL_DTYPE."""
    rows = np.zeros(n, CELL_DTYPE)
    ratio = 10 ** (galaxies.count_slope * (galaxies.mag_faint - galaxies.mag_bright))
    rows["mag"] = galaxies.mag_bright + np.log10(1 + rng.random(n) * (ratio - 1)) / galaxies.count_slope
    size = galaxies.size * 10 ** (galaxies.size_scatter * rng.standard_normal(n))
    rows["hlr"] = np.maximum(size * 10 ** (-galaxies.size_slope * (rows["mag"] - 22)), galaxies.size_min)
    shape = galaxies.shape_noise * rng.standard_normal((2, n))
    rows["g1_int"], rows["g2_int"] = shape * np.minimum(1.0, 0.6 / np.maximum(np.hypot(*shape), 1e-9))
    return rows


def turned_too(rows):
    """The cells of some rows and each one turned by 90 degrees."""
    turned = rows.copy()
    turned["u"], turned["v"] = -rows["v"], rows["u"]
    turned["g1_int"], turned["g2_int"] = -rows["g1_int"], -rows["g2_int"]
    rows = rows.copy()
    rows["cell"], turned["cell"] = 2 * rows["cell"], 2 * turned["cell"] + 1
    return np.concatenate([rows, turned])


def sheared_scene(params, cells, g, spacing=SPACING):
    """The scene of some cells, each sheared around its middle, places and shapes.

    The galaxy in the middle does not move, and so has the same noise whatever the shear.
    """
    rng = np.random.default_rng([params.seed, 78])
    centres = survey_cells(params, spacing)
    middle = centres + rng.uniform(-0.5, 0.5, centres.shape)
    g1, g2 = g
    matrix = np.array([[1 + g1, g2], [g2, 1 - g1]]) / np.sqrt(1 - g1**2 - g2**2)
    u, v = matrix @ np.stack([cells["u"], cells["v"]])
    scene = np.zeros(len(cells), SCENE_DTYPE)
    tile = plan_survey(params).tiles[0]
    x, y = middle[cells["cell"]].T + np.stack([u, v]) / params.tile_pixel_scale  # West is right
    scene["ra"], scene["dec"] = tile.wcs.pixel_to_sky(x, y)
    for name in ("mag", "hlr", "g1_int", "g2_int"):
        scene[name] = cells[name]
    scene["g1"], scene["g2"] = g
    scene["sersic"], scene["pair"] = 1, -1
    return scene


def observe(params, scene):
    """Take the exposures of a scene; the noise depends on the parameters alone."""
    plan = plan_survey(params)
    sections, images = [], []
    y0, y1, x0, x1 = box = datasec(params.camera)
    for exposure in plan.exposures:
        for ccd in exposure.active_ccds:
            read = read_out(draw_ccd(scene, exposure, ccd, params), ccd.id, params)
            flag = read.flag.astype(np.int32)
            shape = ccd_shape(params.camera)
            light = galsim.Moffat(beta=exposure.psf.beta, fwhm=params.psf.fwhm).shear(
                g1=params.psf.g1, g2=params.psf.g2
            )
            jacobian = ccd.wcs.jacobian((shape[1] - 1) / 2, (shape[0] - 1) / 2)[0]
            psf = light.drawImage(nx=PSF_SIZE, ny=PSF_SIZE, wcs=galsim.JacobianWCS(*jacobian), dtype=float).array
            model = PsfModel(psf[None] / psf.sum(), 0, (0.0, 0.0), (1.0, 1.0), 1.0, 1, 1.0, 3.7)
            common = {"wcs": ccd.wcs, "valid_box": box, "flux_scale": exposure.flux_scale}
            sections.append(
                CcdSection(
                    ccd=ccd.id,
                    origin=(0, 0),
                    data=read.data,
                    weight=read.weight,
                    flag=flag,
                    background=np.zeros(shape, np.float32),
                    psf=model,
                    **common,
                )
            )
            cut = np.s_[y0:y1, x0:x1]
            images.append(
                Image(
                    data=read.data[cut],
                    weight=read.weight[cut],
                    flag=flag[cut],
                    origin=(y0, x0),
                    full_shape=shape,
                    gain=params.camera.gain,
                    saturate=params.camera.saturation,
                    mag_zp=exposure.mag_zp,
                    header="",
                    path="",
                    **common,
                )
            )
    return Crowd(params, plan, scene, sections, images)
