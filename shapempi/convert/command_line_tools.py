"""The tools of ShapePipe that have no section in an INI file, and what does the same in shapempi."""

from __future__ import annotations

__all__ = ["TOOLS"]

#: Tool, section of the specification, and (option, counterpart) for each option.
TOOLS: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    (
        "shapepipe_run",
        "13.1",
        (
            ("-c CONFIG", "`shapempi run CONFIG`, with a TOML file that `shapempi convert` makes of the INI files"),
            ("-l", "none: `shapempi --help` lists the verbs"),
            ("mpiexec -n P, MODE = mpi", "`mpirun -n P shapempi run CONFIG`; rank 0 hands out the work"),
        ),
    ),
    (
        "cfis_field_select",
        "2.2",
        (
            ("-i", "`shapempi select --input`"),
            ("-c", "`shapempi select --column`"),
            ("--input_format", "`shapempi select --input-format`"),
            ("-o, --outbase", "`shapempi select --output`: text, or CSV"),
            ("--plot", "`shapempi select --plot`: .png or .pdf"),
            ("--interactive", "none: a plot is a file"),
            ("--out_base_name, --out_name_only", "`shapempi select --name-only`"),
            ("--out_ID_only", "`shapempi select --id-only`"),
            ("-s, --short", "`shapempi select --short`"),
            ("--no_cuts", "`shapempi select --no-cuts`"),
            ("-b, --band", "`shapempi select --band`"),
            ("-t, --type", "`shapempi select --type`"),
            ("--coord", "`shapempi select --coord`; `shapempi select --all`: every tile that holds the position"),
            ("--number", "`shapempi select --number`"),
            ("--area", "`shapempi select --area`"),
            ("--tile", "`shapempi select --tile`"),
            ("-v", "none"),
        ),
    ),
    (
        "cfis_create_image_links",
        "2.3",
        (
            ("-i, -o", "`shapempi link --input`, `shapempi link --output`; a run needs no links"),
            ("-t", "`shapempi link --type`; tiles as XXX-YYY, not by running numbers"),
            ("-b", "`shapempi link --band`"),
            ("--image_base_new", "`shapempi link --image-base`"),
            ("--weight_base_new", "`shapempi link --weight-base`"),
            ("--flag_base_new", "`shapempi link --flag-base`"),
            ("-v", "none"),
        ),
    ),
    (
        "create_star_cat",
        "2.4",
        (
            ("input directory, output directory", "`shapempi starcat STARS --from FILE --config CONFIG`"),
            ("kind (exp)", "none: one catalogue serves exposures and tiles"),
        ),
    ),
    (
        "merge_final_cat",
        "12.2",
        (
            ("-i, -n", "`shapempi gather RUN` for the tiles of a run, `shapempi merge RUN ...` for several runs"),
            ("-l", "`[input] tiles`, `[input] tile_list`; `shapempi merge --tiles`"),
            ("-p", "`shapempi merge --columns`, `shapempi export --columns`: the same files"),
            ("--hdu_num, -v", "none: the catalogue's own table"),
        ),
    ),
    (
        "stats_global",
        "12.4",
        (
            (
                "[ALL] nbins, fontsize; fname, xlabel, xmin, xmax, title, plot",
                "`shapempi report RUN`, `/star_statistics`",
            ),
        ),
    ),
    (
        "job script: steps 1, 2, 4, ... 128",
        "0.3",
        (
            ("1 get images", "`shapempi fetch-images`"),
            ("2 prepare (uncompress, split, merge headers)", "none needed"),
            ("4 masks, 8 detection and PSF, 16 interpolation and stamps, 32 shapes", "`shapempi run CONFIG`"),
            ("64 catalogues", "`shapempi gather RUN`, `shapempi export RUN`"),
            ("128 upload", "none: copy RUN/catalogue.h5"),
            ("number of shape jobs per tile", "none: ranks share the objects of all tiles"),
        ),
    ),
)
