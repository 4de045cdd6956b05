"""`solo-rt doctor`."""

from __future__ import annotations

from solo_rt.commands.options import as_json, command, print_json


@command()
@as_json
def doctor(as_json: bool) -> int:
    """Show what this machine and installation can do. Exits with 1 if something needed is missing."""
    from dataclasses import asdict

    from solo_rt.commands.tables import print_findings
    from solo_rt.doctor import examine

    findings = examine()
    print_json([asdict(finding) for finding in findings]) if as_json else print_findings(findings)
    return 0 if all(finding.found for finding in findings if finding.required) else 1
