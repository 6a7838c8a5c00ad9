"""The layer picture of docs/architecture.md, enforced: every import of every module is read from its source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import shapempi

PACKAGE = Path(shapempi.__file__).parent

BOTTOM = {"errors", "flags", "interrupt", "kernels"}
NOUNS = {
    "camera",
    "catalog",
    "description",
    "exposure_number",
    "ids",
    "image",
    "params",
    "product",
    "psf",
    "tile_grid",
    "vignet",
    "wcs",
}
GROUND = BOTTOM | NOUNS
# survey knows which inputs a survey has; it sits below the stages that read them.
SURVEY = {"survey", "io"} | GROUND
BELOW_CONFIG = {
    "stages",
    "engines",
    "mpi",
    "sim",
    "report",
    "calibration",
    "validation",
    "bench",
    "lensing",
    "measure",
} | SURVEY

#: What the modules of a layer may import besides their own layer.
MAY_IMPORT = {
    "__main__": {"cli"},
    "cli": {
        "verbs",
        "catalogue_verbs",
        "report_verbs",
        "psf_verbs",
        "image_verbs",
        "star_verbs",
        "look_verbs",
        "field_verbs",
        "legacy_verbs",
        "bench_verbs",
        "job_verbs",
        "selftest_verbs",
        "convert_verbs",
        "shear_verbs",
        "engines",
        "grammar",
        "errors",
        "interrupt",
    },
    "verbs": {
        "catalogue_verbs",
        "run",
        "opening",
        "export_ldac",
        "legacy_verbs",
        "calibrate",
        "chain",
        "gather",
        "grammar",
        "units",
        "config",
    }
    | BELOW_CONFIG,
    "catalogue_verbs": {"catalogues", "report"} | SURVEY,
    "catalogues": {"run_view", "masking", "star_catalogue", "stages", "measure", "grammar", "config"} | SURVEY,
    "report_verbs": {"reporting", "chain", "gather", "config"} | BELOW_CONFIG,
    "psf_verbs": {"validate_psf", "interpolate", "selection", "config"} | BELOW_CONFIG,
    "image_verbs": {"masking", "detecting", "config"} | BELOW_CONFIG,
    "shear_verbs": {"shear_analysis", "config"} | BELOW_CONFIG,
    "shear_analysis": {"report", "lensing", "measure"} | SURVEY,  # the shear of a run: tables and figures
    "star_verbs": {"star_extraction", "config"} | SURVEY,
    "field_verbs": {"field", "report", "config"} | SURVEY,
    "field": SURVEY,  # lists, links and copies of images, before there is a run
    "bench_verbs": {"farm_bench", "mpi_bench", "scaling"} | BELOW_CONFIG,
    "farm_bench": {"units"} | BELOW_CONFIG,  # the units and the schedule of a run, done in simulated time
    "mpi_bench": {"mpi"} | GROUND,  # the master of a run with units that do nothing
    "scaling": {"config"} | BELOW_CONFIG,  # runs of one survey on more and more ranks
    "job_verbs": {"jobscript", "job_size", "site", "units", "config", "measure"} | SURVEY,
    "jobscript": {"job_size", "site"} | GROUND,
    "job_size": {"site"} | GROUND,
    "site": GROUND,  # where jobs run: files of the package, or one of the user's
    "selftest_verbs": {"selftest", "gather", "io", "errors"},
    "convert_verbs": {"convert", "io", "errors"},
    "convert": {"selection", "config"} | BELOW_CONFIG,  # ShapePipe's configurations as ours
    "legacy_verbs": {"legacy"} | BELOW_CONFIG,
    "legacy": {  # a run as the files of the reference system
        *("run_view", "run_psf", "interpolate", "export_ldac", "masking", "selection", "star_catalogue", "grammar"),
        *BELOW_CONFIG,
    },
    "look_verbs": {"config", "look", "look_file", "look_unit", "look_object", "run_view"} | SURVEY,
    "look_object": {"look", "run_view", "stages", "measure", "report"} | SURVEY,  # one object in all epochs
    "look_unit": {"look", "run_view", "measure", "report"} | SURVEY,  # CCDs and tiles of a run
    "look_file": {"look", "report"} | SURVEY,
    "look": {"report"} | SURVEY,
    "export_ldac": {"run_view", "stages", "measure"} | SURVEY,
    "run_view": {"gather", "units", "masking", "report", "config"} | SURVEY,  # a run by the names that people type
    "calibrate": {"config"} | BELOW_CONFIG,
    "chain": {"run", "gather", "config"} | BELOW_CONFIG,
    "run": {"opening", "placing", "run_status", "crew", "fault", "units"} | BELOW_CONFIG,
    "run_status": {"crew"} | BELOW_CONFIG,  # what rank 0 writes for those who watch
    "opening": {"crew", "fault", "selection", "masking", "star_catalogue", "config"} | BELOW_CONFIG,  # before the work
    "placing": {"mpi"} | SURVEY,  # where exposures lie, read by all ranks
    "fault": {"errors"},  # errors made on purpose
    "selftest": {"fault", "io", "errors"},  # trials of an installation: the program as a user starts it
    "crew": {"fault", "units", "config"} | BELOW_CONFIG,  # what a rank does with a unit
    "reporting": {"gather", "units", "report"} | SURVEY,  # the report of a run from its folder
    "gather": {"shard", "units", "mpi"} | SURVEY,
    "shard": {"units"} | SURVEY,  # the files of a catalogue
    "selection": {"report", "measure"} | SURVEY,  # star selections on catalogue files
    "masking": {"star_catalogue", "report", "measure"} | SURVEY,  # masks with the files that their settings name
    "star_catalogue": {"measure"} | SURVEY,  # the bright stars of a run, or of one image
    "star_extraction": SURVEY,  # and of some fields
    "detecting": {"report", "engines", "measure"} | SURVEY,  # detection in images of the user's
    "validate_psf": {"report", "validation"} | SURVEY,
    "run_psf": {"gather", "units", "measure"} | SURVEY,  # the PSF models of a run, for tools that draw them
    "interpolate": {"run_psf", "measure"} | SURVEY,
    "units": {"mpi"} | SURVEY,  # part of run: makes the units that mpi gives out from the plan that survey makes
    "grammar": GROUND,
    "config": BELOW_CONFIG,
    "stages": {"engines", "measure"} | SURVEY,
    "engines": {"measure", "io"} | GROUND,  # make PSF models, some by programs with files
    "mpi": {"errors"},
    "survey": SURVEY,
    "sim": {"io"} | GROUND,
    "report": {"io", "measure", "calibration", "validation", "lensing"} | GROUND,
    "lensing": {"measure"} | GROUND,  # what a catalogue says of the sky, in memory
    "validation": {"measure"} | GROUND,  # judges PSF models by the stars of a run, in memory
    "calibration": {"measure"} | GROUND,  # simulates and measures in memory
    "bench": {"engines", "io", "measure"} | GROUND,  # the same, by the clock
    "measure": GROUND,
    "io": GROUND,
    **dict.fromkeys(NOUNS, GROUND),
    **{module: frozenset() for module in BOTTOM},
}

#: Packages that only some modules may import, and why.
RESERVED = {
    "mpi4py": ({"shapempi.mpi.comm"}, "one module speaks MPI, everyone else gets a communicator"),
    "matplotlib": ({"shapempi.report"}, "figures are made by reports only"),
}

#: What code that computes in memory has no use for.
FILES = {"fitsio", "glob", "h5py", "io", "os", "pathlib", "shutil", "tempfile"}


def name_of(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {name_of(path): ast.parse(path.read_text(), path) for path in sorted(PACKAGE.rglob("*.py"))}
COMPILED = {f"shapempi.kernels.{path.stem}" for path in PACKAGE.glob("kernels/*.pyi")}
MODULES = set(TREES) | COMPILED


def imported(node):
    """The modules that one import statement names."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    assert node.level == 0, f"line {node.lineno}: imports are written out, not relative"
    as_modules = [f"{node.module}.{alias.name}" for alias in node.names]
    return [name if name in MODULES else node.module for name in as_modules]


def imports(name):
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for target in imported(node):
                yield target, node.lineno


def is_within(module, package):
    return module == package or module.startswith(package + ".")


def layer_of(module):
    return module.split(".")[1]


@pytest.mark.parametrize("name", sorted(set(TREES) - {"shapempi"}))
def test_imports_only_go_down(name):
    layer = layer_of(name)
    assert layer in MAY_IMPORT, f"{name} is in no layer: give it one in this test and in docs/architecture.md"
    allowed = MAY_IMPORT[layer] | ({layer} if layer != "kernels" else set())
    for target, line in imports(name):
        if is_within(target, "shapempi"):
            assert target in MODULES, f"{name}:{line} imports {target}, which does not exist"
            above = target != "shapempi" and layer_of(target) not in allowed
            assert not above, f"{name}:{line} imports {target}; {layer} may import {', '.join(sorted(allowed))}"


def test_importing_the_package_imports_nothing_of_ours():
    code = "import sys, shapempi; sys.exit(any(name.startswith('shapempi.') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_public_functions_are_found_when_they_are_asked_for():
    assert {"fit_gaussian", "measure_shapes", "metacal_images"} <= set(dir(shapempi))
    assert all(callable(getattr(shapempi, name)) for name in shapempi.__all__)
    with pytest.raises(AttributeError, match="no attribute 'mesure_shapes'"):
        _ = shapempi.mesure_shapes


@pytest.mark.parametrize("package", RESERVED)
def test_some_packages_are_reserved(package):
    users, why = RESERVED[package]
    for name in TREES:
        if not any(is_within(name, user) for user in users):
            for target, line in imports(name):
                assert not is_within(target, package), f"{name}:{line} imports {target}: {why}"


def test_what_measures_sees_no_files():
    for name in TREES:
        if is_within(name, "shapempi.measure"):
            for target, line in imports(name):
                files = target.split(".")[0] in FILES or is_within(target, "astropy.io")
                assert not files, f"{name}:{line} imports {target}; reading and writing belong to io"


def test_our_modules_are_imported_at_the_top():
    for name, tree in TREES.items():
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                for node in ast.walk(function):
                    if isinstance(node, ast.Import | ast.ImportFrom):
                        ours = [target for target in imported(node) if is_within(target, "shapempi")]
                        assert not ours, f"{name}:{node.lineno} imports {ours} inside a function"


def test_no_module_imports_itself_through_others():
    graph = {name: {t for t, _ in imports(name) if t in TREES and t not in ("shapempi", name)} for name in TREES}
    finished, path = set(), []

    def visit(name):
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in finished:
            path.append(name)
            for target in sorted(graph[name]):
                visit(target)
            path.pop()
            finished.add(name)

    for name in sorted(graph):
        visit(name)


@pytest.mark.parametrize("name", sorted(TREES))
def test_a_module_is_about_one_noun_and_fits_in_the_head(name):
    vague = {"utils", "util", "helpers", "helper", "common", "misc", "core", "manager", "managers", "tools"}
    assert not vague & set(name.split("."))
    last = max((node.end_lineno for node in ast.walk(TREES[name]) if hasattr(node, "end_lineno")), default=0)
    assert last <= 500, f"{name} has {last} lines; 500 is the limit"


def test_the_command_sets_the_threads_before_numpy_reads_them():
    code = "import sys, shapempi.__main__; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_importing_the_command_line_starts_no_mpi():
    code = "import sys, shapempi.cli; sys.exit('mpi4py.MPI' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
