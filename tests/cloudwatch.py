"""CloudWatch, as far as template.yaml uses it: filter patterns and Insights queries over log lines, metric math, the dashboard.

tests/template.py checks with it that each pattern, query and widget finds what it is for, and tests/dashboard.py draws.
"""

import json
import operator
import re
from fnmatch import fnmatchcase


# --- Filter patterns of CloudWatch Logs -------------------------------------------------------------------------------

COMPARISONS = {"=": operator.eq, "!=": operator.ne, ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}


def matches(pattern, line):
    """Whether a filter pattern for JSON matches a log line. `*` in a text stands for any text."""
    tokens = re.findall(r'"[^"]*"|&&|\|\||!=|>=|<=|[(){}=<>]|[^\s(){}=<>!&|"]+', pattern)

    def take(expected=None):
        token = tokens.pop(0)
        if expected not in (None, token):
            raise ValueError(f"{pattern}: {expected} is expected, not {token}")
        return token

    def alternatives():
        found = conjunction()
        while tokens[0] == "||":
            take()
            found = conjunction() or found
        return found

    def conjunction():
        found = term()
        while tokens[0] == "&&":
            take()
            found = term() and found
        return found

    def term():
        if tokens[0] == "(":
            take()
            found = alternatives()
            take(")")
            return found
        selector, compare, value = take(), take(), take()
        there = line.get(selector.removeprefix("$."))
        if there is None:
            return False
        if isinstance(there, str):
            if re.fullmatch(r"[\d.]+", value):  # A number, which is never equal to a text.
                return False
            same = fnmatchcase(there, value.strip('"').replace("[", "[[]").replace("?", "[?]"))
            return {"=": same, "!=": not same}[compare]
        return COMPARISONS[compare](there, float(value))

    take("{")
    found = alternatives()
    take("}")
    return found


# --- Insights queries -------------------------------------------------------------------------------------------------


class Query:
    """A query of CloudWatch Logs Insights. A ValueError: it cannot be made, or uses what this module does not know."""

    def __init__(self, text):
        self.commands = [command.strip().partition(" ")[::2] for command in re.findall(r"(?:[^|']|'[^']*')+", text)]
        # The fields of log lines that it reads.
        self.reads = set()
        # The log group that it names itself.
        self.source = [argument.strip("'") for name, argument in self.commands if name == "SOURCE"]

    def run(self, lines):
        """The rows for lines. A line has its time, in seconds, as `@timestamp`."""
        rows, calculated = lines, set()
        for name, argument in self.commands:
            if name == "filter":
                keep = self.condition(argument)
                rows = [row for row in rows if keep(row)]
            elif name == "fields":
                fields = re.split(r",\s*", argument)
                self.reads.update(set(fields) - calculated)
                rows = [{field: row.get(field) for field in fields} for row in rows]
            elif name == "stats":
                rows, calculated = self.stats(argument, rows)
            elif name == "sort":
                field, _, direction = argument.partition(" ")
                self.reads.update({field} - calculated)
                rows = sorted(rows, key=lambda row: row.get(field) or 0, reverse=direction == "desc")
            elif name == "limit":
                rows = rows[:int(argument)]
            elif name != "SOURCE":
                raise ValueError(f"{name} is not a command")
        return rows

    def condition(self, text):
        tokens = re.findall(r"'[^']*'|[\w@.]+|[()=\[\],]|\S", text)

        def take(expected=None):
            token = tokens.pop(0) if tokens else None
            if token is None or expected not in (None, token):
                raise ValueError(f"{text}: {expected} is expected, not {token}")
            return token

        def value():
            token = take()
            if not token.startswith("'"):
                raise ValueError(f"{text}: {token} is not a text")
            return token.strip("'")

        def any_of():
            parts = [all_of()]
            while tokens[:1] == ["or"]:
                take()
                parts.append(all_of())
            return lambda row: any(part(row) for part in parts)

        def all_of():
            parts = [term()]
            while tokens[:1] == ["and"]:
                take()
                parts.append(term())
            return lambda row: all(part(row) for part in parts)

        def term():
            field = take()
            if field == "(":
                found = any_of()
                take(")")
                return found
            if field == "ispresent":
                take("(")
                field = take()
                take(")")
                self.reads.add(field)
                return lambda row: row.get(field) is not None
            self.reads.add(field)
            if take() == "=":
                values = [value()]
            else:
                take("[")
                values = [value()]
                while take() == ",":
                    values.append(value())
            return lambda row: row.get(field) in values

        found = any_of()
        if tokens:
            raise ValueError(f"{text}: {tokens[0]} is not expected")
        return found

    def stats(self, text, rows):
        what, _, by = text.partition(" by ")
        functions = re.findall(r"(\w+)\(([^)]*)\) as (\w+)", what)
        keys = re.findall(r"bin\(\d+m\)|\w+", by)
        self.reads.update(argument.split(",")[0] for _, argument, _ in functions if argument)
        self.reads.update(key for key in keys if not key.startswith("bin("))
        groups = {}
        for row in rows:
            groups.setdefault(tuple(grouped(row, key) for key in keys), []).append(row)
        found = []
        for group, members in groups.items():
            row = dict(zip(keys, group))
            for function, argument, name in functions:
                field, *parameters = re.split(r",\s*", argument)
                values = [member[field] for member in members if member.get(field) is not None]
                row[name] = FUNCTIONS[function](members, values, *map(float, parameters))
            found.append(row)
        return found, {*keys, *(name for _, _, name in functions)}


def grouped(row, key):
    if not key.startswith("bin("):
        return row.get(key)
    seconds = int(key[4:-2]) * 60
    return row["@timestamp"] // seconds * seconds


def percentile(values, percent):
    """By the nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else None


FUNCTIONS = {
    "count": lambda members, _: len(members),
    "latest": lambda members, values: values[-1] if values else None,
    "pct": lambda _, values, percent: percentile(values, percent),
}


# --- Metrics ----------------------------------------------------------------------------------------------------------


def show(node):
    """A value as text: `<WebhookQueue.Arn>` for an attribute of a resource, `<InboxBucket.Arn>/*` for a substitution."""
    if isinstance(node, bool):
        return str(node).lower()
    if isinstance(node, list):
        return f"[{', '.join(map(show, node))}]"
    if not isinstance(node, dict):
        return str(node)
    if len(node) == 1:
        ((function, argument),) = node.items()
        if function == "Ref":
            return f"<{argument}>"
        if function == "Fn::GetAtt":
            return f"<{'.'.join(argument if isinstance(argument, list) else [argument])}>"
        if function == "Fn::Sub":
            text, names = argument if isinstance(argument, list) else (argument, {})
            return re.sub(r"\$\{([^}]+)\}", lambda name: show(names.get(name[1], {"Ref": name[1]})), text)
    return f"{{{', '.join(f'{key}: {show(value)}' for key, value in sorted(node.items()))}}}"


class Metric:
    """A metric with its statistic and its period."""

    def __init__(self, namespace, name, dimensions, stat, period):
        self.namespace, self.name, self.dimensions = namespace, name, tuple(dimensions)
        self.stat, self.period = stat, period

    def __str__(self):
        dimensions = "".join(f" {name}={value}" for name, value in self.dimensions)
        return f"{self.stat} of {self.namespace} {self.name}{dimensions} in {self.period} s"


class Expression:
    """Metric math, or a query of Metrics Insights."""

    def __init__(self, text, period):
        self.text, self.period = text, period

    def __str__(self):
        return self.text if self.period is None else f"{self.text} in {self.period} s"


def of_alarm(alarm):
    """What an alarm watches, and the metrics that this is calculated from, by their ids."""

    def metric(node, stat, period):
        dimensions = [(of["Name"], show(of["Value"])) for of in node.get("Dimensions", [])]
        return Metric(show(node["Namespace"]), node["MetricName"], dimensions, stat, period)

    if "Metrics" not in alarm:
        return metric(alarm, alarm["Statistic"], alarm["Period"]), {}
    (watched,) = [node for node in alarm["Metrics"] if node.get("ReturnData", True) is not False]
    inputs = {node["Id"]: metric(node["MetricStat"]["Metric"], node["MetricStat"]["Stat"], node["MetricStat"]["Period"])
              for node in alarm["Metrics"] if node is not watched}
    return Expression(show(watched["Expression"]), watched.get("Period")), inputs


def dashboard(template):
    """The body of the dashboard, with `<WebhookQueue.Arn>` for each attribute of a resource. All alarms exist."""
    text, names = template["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    for name, value in names.items():
        text = text.replace(f"${{{name}}}", show(value["Fn::If"][1]))
    text = re.sub(r'": \$\{(\w+)\}', r'": "<\1>"', text)  # A number on AWS.
    return json.loads(re.sub(r"\$\{([^}]+)\}", r"<\1>", text))


def of_widget(widget):
    """What a metric widget draws: its label, the metric or the expression. Then the metrics by their ids."""
    settings = widget["properties"]
    drawn, inputs = [], {}
    for row in settings["metrics"]:
        options = row[-1] if isinstance(row[-1], dict) else {}
        if "expression" in options:
            drawn.append((options["label"], Expression(options["expression"], options.get("period"))))
            continue
        namespace, name, *pairs = row[:-1]
        stat, period = options.get("stat", settings["stat"]), options.get("period", settings["period"])
        metric = Metric(namespace, name, zip(pairs[::2], pairs[1::2]), stat, period)
        if "id" in options:
            inputs[options["id"]] = metric
        if options.get("visible", True):
            drawn.append((options["label"], metric))
    return drawn, inputs


def calculate(expression, values):
    """The value of metric math in one period. None: there is none."""

    def total(found):
        return sum(found) if found else None

    names = {
        "FILL": lambda value, filled: filled if value is None else value,
        "SUM": total,
        "METRICS": lambda: [value for value in values.values() if value is not None],
        "IF": lambda condition, then, otherwise: then if condition else otherwise,
    }
    try:
        return eval(expression, {"__builtins__": {}}, {**names, **values})
    except (TypeError, ZeroDivisionError):
        return None
