"""Draws the dashboard of template.yaml, as CloudWatch would show it, after each situation that tests/src/sim/situation.rs plays.

`make dashboard` writes docs/dashboard/*.svg. The widgets, their places, metrics, periods and thresholds are the template's. So are the
metric filters, which are applied to the log lines of the run, and the alarms, which are evaluated each minute. Which alarms ring in
each situation is fixed in RINGING.
"""

import json
import logging
import math
import re
import sys
from datetime import datetime, timezone
from html import escape
from pathlib import Path

from cloudwatch import Expression, Query, calculate, dashboard, matches, of_alarm, of_widget, percentile, show
from samtranslator.yaml_helper import yaml_parse
from template import of_type, translate

# What a merchant would choose. All other parameters have their defaults.
CHOSEN = {"Environment": "live", "SilenceHours": 6, "AWS::StackName": "xendit-hooks-live", "AWS::Region": "ap-southeast-3"}

# The alarms that ring at the end of each situation. Every alarm that this list leaves out would be noise there, or too late.
RINGING = {
    "healthy": set(),
    "token-changed": {"WrongTokenAlarm"},
    "silence": {"SilenceAlarm"},
    "ledger-down": {"RetriesAlarm", "FailureRateAlarm", "ParkedAlarm", "DeadLettersAlarm"},
    "queue-down": {"InboxAlarm"},
    "processor-crashes": {"ProcessorErrorsAlarm", "DeadLettersAlarm"},
    "trigger-disabled": {"QueueAgeAlarm"},
    "format-changed": {"ParkedAlarm", "DeadLettersAlarm", "DriftAlarm"},
    "flood": {"NoTokenAlarm", "ThrottledAlarm"},
}
MINUTE = 60
# CloudWatch Logs adds this much to each line.
LINE_OVERHEAD = 26


# --- What CloudWatch has after a run ----------------------------------------------------------------------------------


def seconds(text):
    return int(datetime.fromisoformat(text).timestamp())


class Run:
    """The metrics and the log lines of a situation."""

    def __init__(self, situation, template, parameters):
        self.start, self.end = seconds(situation["from"]), seconds(situation["to"])
        self.parameters = parameters
        self.lines = {group: [{**line, "@timestamp": seconds(line["timestamp"])} for line in lines]
                      for group, lines in situation["lines"].items()}
        # The values of each minute, by metric and resource.
        self.minutes = {}
        for at, metric, resource, value in situation["points"]:
            self.measure(at, metric, resource, value)
        for group, lines in situation["lines"].items():
            for line, parsed in zip(lines, self.lines[group]):
                size = len(json.dumps(line, separators=(",", ":"))) + LINE_OVERHEAD
                self.measure(parsed["@timestamp"], "IncomingBytes", group, size)
        for metric_filter in of_type(template, "AWS::Logs::MetricFilter").values():
            (counter,) = metric_filter["MetricTransformations"]
            for line in self.lines[show(metric_filter["LogGroupName"]).strip("<>")]:
                if matches(metric_filter["FilterPattern"], line):
                    self.measure(line["@timestamp"], counter["MetricName"], "", float(counter["MetricValue"]))

    def measure(self, at, metric, resource, value):
        self.minutes.setdefault((metric, resource), {}).setdefault(at // MINUTE, []).append(value)

    def value(self, metric, end):
        """The statistic of a metric over its period before a time. None: there is none."""
        if isinstance(metric, Expression):
            (name,) = re.findall(r"SELECT SUM\((\w+)\)", metric.text)
            values, stat = self.minutes.get((name, "EventBus"), {}), "Sum"
        else:
            resource = "".join(re.sub(r"[<>]|\..*", "", value) for _, value in metric.dimensions)
            values, stat = self.minutes.get((metric.name, resource), {}), metric.stat
        minutes = range((end - metric.period) // MINUTE, end // MINUTE)
        found = [value for minute in minutes for value in values.get(minute, ())]
        if not found:
            return None
        return sum(found) if stat == "Sum" else max(found) if stat == "Maximum" else percentile(found, float(stat[1:]))

    def result(self, what, inputs, end):
        """The value of a metric, or of an expression over others."""
        if isinstance(what, Expression) and what.period is None:
            return calculate(what.text, {name: self.value(metric, end) for name, metric in inputs.items()})
        return self.value(what, end)

    def number(self, node):
        """A number, or the value of the parameter that stands for it."""
        text = show(node)
        return float(self.parameters[text.strip("<>")]) if text.startswith("<") else float(text)


def period_of(what, inputs):
    return what.period or max(metric.period for metric in inputs.values())


def ringing_since(alarm, run):
    """When an alarm began to ring. None: it does not ring in the end."""
    what, inputs = of_alarm(alarm)
    period, threshold = period_of(what, inputs), run.number(alarm["Threshold"])
    periods = int(run.number(alarm["EvaluationPeriods"]))
    needed = alarm.get("DatapointsToAlarm", periods)
    breaches = {
        "GreaterThanThreshold": lambda value: value > threshold,
        "GreaterThanOrEqualToThreshold": lambda value: value >= threshold,
        "LessThanOrEqualToThreshold": lambda value: value <= threshold,
    }[alarm["ComparisonOperator"]]
    values = {}
    since = None
    for now in range(run.start, run.end + 1, MINUTE):
        window = []
        for back in range(periods):
            end = now - back * period
            if end not in values:
                values[end] = run.result(what, inputs, end)
            window.append(values[end])
        if alarm["TreatMissingData"] == "ignore" and None in window:
            continue
        missing = alarm["TreatMissingData"] == "breaching"
        count = sum(missing if value is None else breaches(value) for value in window)
        since = (since or now) if count >= needed else None
    return since


# --- Drawing ----------------------------------------------------------------------------------------------------------

COLUMN, ROW, GAP = 60, 46, 6
COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#9467bd")
RED, GREEN, INK, FAINT = "#d13212", "#1d8102", "#16191f", "#687078"
FONT = "font-family='DejaVu Sans, sans-serif'"


def text(x, y, content, size=11, colour=INK, anchor="start", weight="normal"):
    return (f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size}' fill='{colour}' text-anchor='{anchor}' "
            f"font-weight='{weight}'>{escape(content)}</text>")


def clock(at):
    return datetime.fromtimestamp(at, timezone.utc).strftime("%H:%M")


def readable(number):
    return f"{number / 1e6:g}M" if number >= 1e6 else f"{number / 1000:g}k" if number >= 10_000 else f"{number:g}"


def ceiling(number):
    """A round number that is not smaller."""
    if number <= 0:
        return 1
    power = 10 ** math.floor(math.log10(number))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= number)


class Frame:
    """A widget's place, in pixels."""

    def __init__(self, widget):
        self.x, self.y = widget["x"] * COLUMN + GAP / 2, widget["y"] * ROW + GAP / 2
        self.width, self.height = widget["width"] * COLUMN - GAP, widget["height"] * ROW - GAP

    def box(self, title):
        return (f"<rect x='{self.x}' y='{self.y}' width='{self.width}' height='{self.height}' fill='#fff' stroke='#d5dbdb'/>"
                + text(self.x + 8, self.y + 16, title, 12, weight="bold"))


def draw_text(widget, run):
    frame, y = Frame(widget), widget["y"] * ROW + ROW * 0.62
    content = widget["properties"]["markdown"]
    heading = content.startswith("### ")
    found = []
    for part in re.findall(r"\*\*.*?\*\*|\[.*?\]\(.*?\)|[^*\[]+", content.removeprefix("### ")):
        link = re.fullmatch(r"\[(.*?)\]\(.*?\)", part)
        bold = part.startswith("**") or (heading and not link and "·" not in part)
        part = link[1] if link else part.strip("*")
        found.append(f"<tspan font-size='{18 if bold and heading else 12}' font-weight='{'bold' if bold else 'normal'}' "
                     f"fill='{'#0073bb' if link else INK}'>{escape(part)}</tspan>")
    return f"<text x='{frame.x + 4}' y='{y:.1f}' xml:space='preserve'>{''.join(found)}</text>"


def draw_alarms(widget, run, alarms):
    frame = Frame(widget)
    found = [frame.box(widget["properties"]["title"])]
    columns = 6
    width, height = (frame.width - 10) / columns, (frame.height - 26) / 3
    for place, arn in enumerate(widget["properties"]["alarms"]):
        name = arn.strip("<>").removesuffix(".Arn")
        x, y = frame.x + 6 + place % columns * width, frame.y + 23 + place // columns * height
        since = alarms[name]
        state, colour = ("OK", GREEN) if since is None else (f"In alarm since {clock(since)}", RED)
        found.append(f"<rect x='{x}' y='{y}' width='{width - 4}' height='{height - 4}' fill='{'#fff' if since is None else '#fdecea'}' "
                     f"stroke='{'#d5dbdb' if since is None else RED}'/><rect x='{x}' y='{y}' width='5' height='{height - 4}' fill='{colour}'/>"
                     + text(x + 12, y + 13, name, 11, weight="bold") + text(x + 12, y + 27, state, 11, colour))
    return "".join(found)


def draw_graph(frame, title, lines, thresholds, run):
    """Draws lines: a name, the period, and the points of each. Thresholds: a value and the alarms."""
    left, right, top, bottom = frame.x + 44, frame.x + frame.width - 10, frame.y + 28, frame.y + frame.height - 36
    highest = ceiling(max([value for _, _, points in lines for _, value in points] + [value for value, _ in thresholds], default=0) * 1.02)
    place = lambda at, value: (left + (at - run.start) / (run.end - run.start) * (right - left),
                               bottom - value / highest * (bottom - top))
    found = [frame.box(title)]
    for share in (0, 0.5, 1):
        y = bottom - share * (bottom - top)
        found.append(f"<line x1='{left}' x2='{right}' y1='{y:.1f}' y2='{y:.1f}' stroke='#eaeded'/>"
                     + text(left - 5, y + 4, readable(share * highest), 10, FAINT, "end"))
    for at in range(run.start, run.end + 1, 3 * 60 * MINUTE):
        anchor = "end" if at == run.end else "middle"
        found.append(text(place(at, 0)[0], bottom + 13, clock(at), 10, FAINT, anchor))
    for number, (value, names) in enumerate(thresholds):
        y = place(run.start, value)[1]
        # Near the top, the name is below the line.
        label = y + 11 if y < top + 14 else y - 3 - 9 * number * (abs(y - place(run.start, thresholds[0][0])[1]) < 10)
        found.append(f"<line x1='{left}' x2='{right}' y1='{y:.1f}' y2='{y:.1f}' stroke='{RED}' stroke-dasharray='5 3'/>"
                     + text(right - 2, label, names if len(names) < 40 else names.replace("Alarm", ""), 9, RED, "end"))
    x = left
    for colour, (name, period, points) in zip(COLOURS, lines):
        pieces, last = [], None
        for at, value in points:
            px, py = place(at - period / 2, value)
            pieces.append(f"{'M' if last is None or at - last > period else 'L'}{max(px, left):.1f} {py:.1f}")
            last = at
        path = "".join(pieces)
        alone = re.findall(r"M([\d.]+) ([\d.]+)(?=M|$)", path)
        found.append(f"<path d='{path}' fill='none' stroke='{colour}' stroke-width='1.6'/>")
        found.extend(f"<circle cx='{cx}' cy='{cy}' r='2.2' fill='{colour}'/>" for cx, cy in alone)
        found.append(f"<rect x='{x:.1f}' y='{frame.y + frame.height - 13}' width='9' height='9' fill='{colour}'/>"
                     + text(x + 13, frame.y + frame.height - 5, name, 10, FAINT))
        x += 26 + len(name) * 6.1
    return "".join(found)


def draw_metrics(widget, run):
    drawn, inputs = of_widget(widget)
    lines = []
    for name, what in drawn:
        period = period_of(what, inputs) if isinstance(what, Expression) else what.period
        ends = range(run.end - (run.end - run.start) // period * period + period, run.end + 1, period)
        values = [(at, run.result(what, inputs, at)) for at in ends]
        lines.append((name, period, [(at, value) for at, value in values if value is not None]))
    marks = widget["properties"].get("annotations", {}).get("horizontal", [])
    thresholds = [(run.number(mark["value"]), mark["label"]) for mark in marks]
    return draw_graph(Frame(widget), widget["properties"]["title"], lines, thresholds, run)


def draw_logs(widget, run):
    frame, title = Frame(widget), widget["properties"]["title"]
    query = Query(widget["properties"]["query"])
    (group,) = query.source
    rows = query.run([line for line in run.lines[group.strip("<>")] if line["@timestamp"] >= run.start])
    if widget["properties"]["view"] == "timeSeries":
        (bin_name,) = [name for name in rows[0] if name.startswith("bin(")] if rows else [""]
        names = [name for name in (rows[0] if rows else ()) if name != bin_name]
        period = int(bin_name[4:-2]) * MINUTE if rows else MINUTE
        lines = [(name, period, sorted((row[bin_name] + period, row[name]) for row in rows)) for name in names]
        return draw_graph(frame, title, lines, [], run)
    shown = rows[:int((frame.height - 40) // 15)]
    found, x = [frame.box(title)], frame.x + 8
    for name in shown[0] if shown else ():
        cells = [name, *(clock(row[name]) if name == "@timestamp" else str(row[name] or "") for row in shown)]
        found.extend(text(x, frame.y + 32 + 15 * number, cell, 10, FAINT if number == 0 else INK)
                     for number, cell in enumerate(cells))
        x += max(map(len, cells)) * 6.2 + 14
    return "".join(found)


def draw(body, run, alarms):
    """The dashboard as SVG."""
    draws = {"text": draw_text, "metric": draw_metrics, "log": draw_logs, "alarm": lambda *of: draw_alarms(*of, alarms)}
    width = 24 * COLUMN
    height = max(widget["y"] + widget["height"] for widget in body["widgets"]) * ROW
    parts = [draws[widget["type"]](widget, run) for widget in body["widgets"]]
    filled = re.sub(r"&lt;([\w:]+)&gt;", lambda name: str(run.parameters.get(name[1], name[0])), "".join(parts))
    return (f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' viewBox='0 0 {width} {height}' {FONT}>"
            f"<rect width='{width}' height='{height}' fill='#f2f3f3'/>{filled}</svg>\n")


def main(template_file, folder):
    logging.disable()
    template = translate(yaml_parse(Path(template_file).read_text(encoding="utf-8")))
    parameters = {name: parameter.get("Default") for name, parameter in template["Parameters"].items()} | CHOSEN
    body, found = dashboard(template), of_type(template, "AWS::CloudWatch::Alarm")
    for situation in map(json.loads, sys.stdin):
        name, run = situation["situation"], Run(situation, template, parameters)
        alarms = {alarm: ringing_since(settings, run) for alarm, settings in found.items()}
        ringing = {alarm for alarm, since in alarms.items() if since is not None}
        if ringing != RINGING[name]:
            sys.exit(f"{name}: {', '.join(sorted(ringing))} ring, not {', '.join(sorted(RINGING[name]))}")
        print(f"{name}: {', '.join(f'{alarm} since {clock(alarms[alarm])}' for alarm in sorted(ringing)) or 'no alarm rings'}")
        (Path(folder) / f"{name}.svg").write_text(draw(body, run, alarms), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
