#!/usr/bin/env python3
"""Prints the abuse cases with their verdicts, as the last test run left them in its reports.

S = safetensors, C = configs and indexes, T = tokenizers and templates, N = native safety.

    ./mvnw test && bin/abuse-table.py        (--all lists each case instead of counts)

Exits 1 if a case failed or a family has none.
"""
import collections
import pathlib
import re
import sys
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
CASE = re.compile(r"\b([SCT]\d{1,2})\b")
# Tests whose names have no number: suite, part of the name, family.
NAMED = [
    ("CutFileTest", "", "S10"),
    ("TokenizerTest", r"(?i)malformed|vocabular|runs|strange|textOfUsers", "T1-T6"),
    ("TemplateTest", r"never|deep|onlyData|otherObjects|errors", "T7"),
    ("ChatTemplateTest", r"specialTokens|parts", "T7"),
    ("BadCheckpointTest", "", "C7-C8"),
    ("ParserFuzzTest", "", "S-C-T fuzzed"),
    ("NativeSafetyTest", "", "N ops"),
    ("EngineTest", "", "N engine"),
]


def family(suite, name):
    found = CASE.search(name)
    if found:
        return found.group(1)
    return next((f for s, part, f in NAMED if s == suite and re.search(part, name)), None)


def order(key):
    found = re.match(r"([A-Z])(\d*)(.*)", key)
    return "SCTN".index(found.group(1)), int(found.group(2) or 99), found.group(3)


def verdict(case):
    for tag in ("failure", "error"):
        if case.find(tag) is not None:
            return "FAILED"
    return "skipped" if case.find("skipped") is not None else "meant"


def read():
    rows = collections.defaultdict(list)
    for report in sorted(ROOT.glob("java/*/target/surefire-reports/TEST-*.xml")):
        suite = report.stem.rsplit(".", 1)[-1]
        for case in ElementTree.parse(report).getroot().iter("testcase"):
            key = family(suite, case.get("name"))
            if key:
                rows[key].append((suite, case.get("name"), verdict(case)))
    return rows


def main():
    rows = read()
    print(f"{'case':<20} {'suite':<22} {'as meant':>8} {'failed':>6} {'skipped':>7}")
    for key in sorted(rows, key=order):
        suites = collections.defaultdict(collections.Counter)
        for suite, name, said in rows[key]:
            suites[suite][said] += 1
            if "--all" in sys.argv:
                print(f"{key:<20} {suite:<22} {said:<8} {name}")
        for suite, n in suites.items():
            if "--all" not in sys.argv:
                print(f"{key:<20} {suite:<22} {n['meant']:>8} {n['FAILED']:>6} {n['skipped']:>7}")
    said = collections.Counter(v for cases in rows.values() for _, _, v in cases)
    print(f"{said['meant']} as meant, {said['FAILED']} failed, {said['skipped']} skipped")
    missing = {letter for letter in "SCTN"} - {key[0] for key in rows}
    if missing:
        print("no reports of:", ", ".join(sorted(missing)), "- run the tests first", file=sys.stderr)
    return 1 if said["FAILED"] or missing else 0


if __name__ == "__main__":
    sys.exit(main())
