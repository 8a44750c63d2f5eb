"""The page "Measured claims": the ledger in Markdown."""

from pathlib import Path

from claims.ledger import FOLDER, Claim, Entry, read, state
from claims.sources import SCRIPTS, fingerprint
from claims.studies import ERRATA, GALLERY, KEPT, Study

HEADS = ("claim", "theory", "measured", "off by", "refused at", "widths; networks", "seeds", "seconds", "state")


def page(folder: Path = FOLDER) -> str:
    """All studies, claim by claim, and what the tests measure."""
    parts = []
    for title, studies in (("Errata of the sources", ERRATA), ("Studies of the gallery", GALLERY)):
        parts += [f"## {title}", "", "| " + " | ".join(HEADS) + " |", "|---" * len(HEADS) + "|"]
        for study in studies:
            entry = read(study.name, folder)
            now = state(entry, fingerprint(SCRIPTS / f"{study.script}.py"))
            parts += [row(study, name, entry, now) for name in study.claims]
        parts.append("")
    parts += ["## Measured by the tests, at every run", "", "| claim | test |", "|---|---|"]
    parts += [f"| [{kept.sentence}]({kept.page}) | `tests/{kept.test}` |" for kept in KEPT]
    return "\n".join([summary(folder), "", *parts])


def summary(folder: Path) -> str:
    """How many there are, how many were measured, and with what."""
    studies = [(study, read(study.name, folder)) for study in (*ERRATA, *GALLERY)]
    claims, known = sum(len(study.claims) for study, _ in studies), [entry for _, entry in studies if entry]
    with_what = sorted({", ".join(f"{name} {value}" for name, value in entry.versions.items()) for entry in known})
    found = sum(len(entry.claims) for entry in known)
    fails = sum(not claim.holds for entry in known for claim in entry.claims.values())
    return (
        f"{claims} claims of {len(studies)} studies; {found} are in the ledger, {fails} of them fail. Measured with {'; '.join(with_what)}."
    )


def row(study: Study, name: str, entry: Entry | None, now: str) -> str:
    """One claim."""
    sentence = f"[{study.claims[name]}]({study.page})" if study.page else study.claims[name]
    if entry is None:
        due = ", ".join(["not measured yet", *(f"needs {need}" for need in study.needs)])
        return "| " + " | ".join([sentence, *[""] * 5, study.seeds, f"about {60 * study.minutes:.0f}" if study.minutes else "", due]) + " |"
    claim = entry.claims[name]
    said = f"{now}, {'holds' if claim.holds else '**fails**'}"
    return "| " + " | ".join([sentence, *numbers(claim), study.seeds, f"{entry.seconds:.0f}", said]) + " |"


def numbers(claim: Claim) -> list[str]:
    """Theory, measured, off by, refused at, widths and networks."""
    theory = claim.theory if isinstance(claim.theory, str) else f"{claim.theory:.4g}"
    measured = f"{claim.measured:.4g}" + (f" ± {claim.error:.2g}" if claim.error else "")
    unit = "" if claim.unit == "standard errors" else f" ({claim.unit})"
    off = "" if claim.z is None else f"{claim.z:.2g}{unit}"
    refused = ", ".join(f"{name}: {z:.3g}{unit}" for name, z in claim.controls.items())
    shapes = "; ".join(", ".join(map(str, values)) for values in (claim.widths, claim.networks) if values)
    return [theory, measured, off, refused, shapes]
