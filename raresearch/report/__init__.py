"""What a study found, as tables, figures, one HTML page and TensorBoard files.

Belongs here: summarising over repeats, drawing, rendering, writing into `<store>/report/`.
Does not belong here: choosing epochs (`ensembles`), the value of a figure of merit (`metrics`), resolving names (`api`).
It reads the store and nothing else, and needs neither ray nor torch.

    results    reads the store once: every cell with its chosen epochs and its estimates on validation
    table      one row a config; terminal, Markdown, CSV
    curves     mean ± std over repeats of anything that has epochs
    figures/   one file a figure
    encoders   processes beside this one that make figures PNG and SVG
    page       the HTML page and the Markdown file
    tensorboard  event files, written without torch or tensorflow
    build      all of it, in place by atomic renames
"""
