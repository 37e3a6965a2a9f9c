"""Renders the rows of templates.json with Python's jinja2, set up as transformers does, and writes
the results into it: python3 make_templates.py (needs jinja2). A row is [template, rendering], the
rendering null where jinja2 refuses the template."""
import json
import pathlib
from datetime import datetime

import jinja2
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

FILE = pathlib.Path(__file__).with_name("templates.json")
NOW = datetime(2026, 11, 5, 4, 3, 2)


class Generation(Extension):
    tags = {"generation"}

    def parse(self, parser):
        next(parser.stream)
        return parser.parse_statements(["name:endgeneration"], drop_needle=True)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(
        x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


env = ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"]
)
env.filters["tojson"] = tojson
env.globals["raise_exception"] = raise_exception
env.globals["strftime_now"] = NOW.strftime

data = json.loads(FILE.read_text())
for row in data["rows"]:
    try:
        row[1] = env.from_string(row[0]).render(**data["variables"])
    except Exception:
        row[1] = None
data["comment"] = f"Renderings by Python's jinja2 {jinja2.__version__}; see make_templates.py"
FILE.write_text(json.dumps(data, ensure_ascii=False, indent=0) + "\n")
