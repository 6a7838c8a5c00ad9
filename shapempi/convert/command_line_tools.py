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
            ("-i, -c, --input_format", "`shapempi select`: a folder, or a list of names"),
            ("-o, --plot, --interactive", "`shapempi select`: a file of text or CSV, or a plot of the footprints"),
            ("--out_base_name, --out_name_only, --out_ID_only, -s", "`shapempi select`: what is printed of each image"),
            ("--no_cuts", "`shapempi select`: exposure time and validation"),
            ("-b, -t", "`shapempi select`: tiles or exposures; names of files are the survey's (`[input]`)"),
            ("--coord, --number, --area, --tile", "`shapempi select`: by coordinate, number, area, header of a tile"),
        ),
    ),
    (
        "cfis_create_image_links",
        "2.3",
        (
            ("-i, -o, -b, -t", "`shapempi link`; not needed by a run, which reads the originals"),
            ("--image_base_new, --weight_base_new, --flag_base_new", "`shapempi link`: names of the links"),
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
            ("-i, -n, --hdu_num", "`shapempi gather RUN`"),
            ("-l", "`[input] tiles`, `[input] tile_list`"),
            ("-p", "`shapempi export RUN`: a file with names of columns"),
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
