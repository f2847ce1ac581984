"""VALIDATION: is what throng counts and releases what truly happened in a town?

`make validate` simulates towns, counts their events with the core of a deployment, and holds every measure against the
simulator's truth: before noise and after it. It reads only what a deployment reads (records, the registry, the plan);
the truth is for the comparison alone. docs/explanation/validation.md says what was found.

    towns       which towns, and their days as counted and as lived
    happened    the measures by their definitions in docs/reference/semantics.md, of where people truly were
    released    noise and estimates, as RELEASE makes them
    by_grid     what is left once a plan knows where its zones' people are, from a census
    calibrated  what is left once counts on site of the days before have made factors, by either plan
    foretold    what is left of dwell where nobody has counted, once counts of other places foretell it
    errors      relative errors by size of crowd, and how many intervals cover
    reference   the same sightings through trackintel (Martin et al. 2023), in a venv of its own
    page, picture, __main__    what is told
"""
