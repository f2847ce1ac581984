"""Attacks on what throng released of a simulated town: `python -m attacks`, or `make attack`.

    town          people, their days, and what throng made of them: sightings (internal), exact panes (internal)
    leaving       the release of a day, as RELEASE publishes it; and what an unprotected one would have been
    trajectories, membership, differencing, uniqueness, linkage, enumeration: one attack each
    verdict       what each may not reach, and what each must reach where nothing is protected

The attackers get the published bytes and what a strong attacker might know besides; they never see internal counts,
but where it says so: to show what the internal state would give away, and that an attack bites at all. The simulation
is seeded; the noise is OpenDP's and has no seed, so verdicts leave room for chance (`chance.Z`).
`docs/explanation/attacks.md` tells the results.
"""
