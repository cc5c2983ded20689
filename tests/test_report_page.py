"""The report in a real browser: charts that answer to people, and a page that is whole without them."""

import json

import numpy as np
import pytest
from browser import chromium
from report_results import SEEDS, run, sweep

import jasgd
from jasgd.results import band, best, save_dataset, save_datasets

WIDTHS = [390, 1400]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Two methods of a sweep and a single run."""
    folder = tmp_path_factory.mktemp("report")
    save_datasets({"plain": sweep(), "doubled": sweep(scale=2.0)}, folder / "sweeps.nc")
    save_dataset(run(), folder / "one.nc")
    return jasgd.report.write([folder / "sweeps.nc", folder / "one.nc"], folder / "page.html")


@pytest.fixture(scope="module")
def driver():
    with chromium() as driver:
        yield driver


@pytest.fixture
def opened(driver, page):
    """The page at 1000 pixels, afresh; nothing may have complained at the end of a test."""
    resize(driver, 1000)
    driver.get(page.as_uri())
    yield driver
    assert driver.get_log("browser") == []


def resize(driver, width):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def find(driver, selector):
    return driver.find_elements("css selector", selector)


def texts(driver, selector):
    return [element.get_attribute("textContent") for element in find(driver, selector)]


def names(driver, chart="curves"):
    return [element.get_attribute("data-series") for element in find(driver, f"#{chart} g[data-series]")]


def heights(driver):
    """Numbers on the vertical axis, and where they stand."""
    return [(tick.get_attribute("textContent"), tick.get_attribute("y")) for tick in find(driver, "#curves .tick.y")]


def choose(driver, chart, name, value):
    select = f"document.querySelector('#{chart} select[name={name}]')"
    driver.execute_script(f"{select}.value = {json.dumps(value)}; {select}.dispatchEvent(new Event('change'))")


def click(driver, selector):
    find(driver, selector)[0].click()


def hover(driver, x, chart="curves"):
    """Put the pointer over a chart, at a number on its horizontal axis."""
    a, b = (float(t) for t in texts(driver, f"#{chart} .tick.x")[:2])
    at, next_at = (float(element.get_attribute("x")) for element in find(driver, f"#{chart} .tick.x")[:2])
    left = at + (x - a) / (b - a) * (next_at - at)
    box = f"document.querySelector('#{chart} .plot')"
    move = f"const r = {box}.getBoundingClientRect(); {box}.dispatchEvent(new PointerEvent('pointermove', "
    driver.execute_script(move + f"{{clientX: r.left + {left}, clientY: r.top + 50}}))")
    return texts(driver, f"#{chart} .tip b"), dict(zip(*(texts(driver, f"#{chart} .tip {s}") for s in PARTS), strict=True))


PARTS = ("td:nth-child(2)", "td.value")


def test_both_charts_are_drawn(opened):
    """A line for each method, a band where there are seeds, labels with units on the axes."""
    assert names(opened) == ["sweeps, plain", "sweeps, doubled", "one"]
    assert len(find(opened, "#curves .plot .line")) == 3
    assert len(find(opened, "#curves .plot .band")) == 2
    assert texts(opened, "#curves .label") == ["simulated time [s]", "loss"]
    assert texts(opened, "#tried .label") == ["learning rate", "final loss"]
    assert len(find(opened, "#tried .ring")) == 2
    assert len(find(opened, "#tried .cross")) == 2  # at the rate at which all runs diverge


def test_a_method_can_be_hidden_and_the_axis_follows(opened):
    """Its curve goes, the others fill the chart, its name stays to bring it back; with the keyboard as well."""
    before = heights(opened)
    click(opened, "#curves .legend li:nth-child(2) button")
    assert names(opened) == ["sweeps, plain", "one"]
    assert heights(opened) != before
    button = find(opened, "#curves .legend li:nth-child(2) button")[0]
    assert button.get_attribute("aria-pressed") == "false"
    button.send_keys("\ue00d")  # space
    assert len(names(opened)) == 3
    assert heights(opened) == before
    click(opened, "#curves .legend .all")
    assert names(opened) == []


def test_hovering_shows_the_stored_values(opened):
    """The median and the band of every visible curve at the nearest record; a curve with other records says where."""
    chosen = best(sweep(), over=["learning_rate", "batch"])
    shown = band(chosen["loss"]).sel(time=10.0)
    title, values = hover(opened, 10.4)
    assert title == ["simulated time [s]: 10"]
    number, rest = values["sweeps, plain"].split(" (")
    assert float(number) == pytest.approx(float(shown["median"]), rel=1e-4)
    low, high = rest.rstrip(")").split(" to ")
    assert [float(low), float(high)] == pytest.approx([float(shown["low"]), float(shown["high"])], rel=1e-3)
    assert "one" not in values  # it ended at 9 s
    assert hover(opened, 8.9)[1]["one"] == "0.25"
    assert hover(opened, 5.0)[1]["sweeps, plain"].endswith((" at 0", " at 10"))


def test_arrow_keys_read_the_values(opened):
    """The chart can be reached and read without a pointer."""
    plot = find(opened, "#curves .plot")[0]
    plot.send_keys("\ue010")  # end
    assert texts(opened, "#curves .tip b") == ["simulated time [s]: 80"]
    plot.send_keys("\ue012")  # left
    assert texts(opened, "#curves .tip b") == ["simulated time [s]: 40"]
    plot.send_keys("\ue00c")  # escape
    assert not find(opened, "#curves .tip")[0].is_displayed()


def test_axes_metrics_and_scales_can_be_chosen(opened):
    """Each choice changes labels, ticks and values; a metric that a method lacks hides it."""
    choose(opened, "curves", "y", "accuracy")
    assert texts(opened, "#curves .label")[1] == "accuracy"
    assert names(opened) == ["sweeps, plain", "sweeps, doubled"]
    assert [item.is_displayed() for item in find(opened, "#curves .legend li")[:3]] == [True, True, False]
    expected = float(band(best(sweep(), over=["learning_rate", "batch"])["accuracy"])["median"].sel(time=20.0))
    assert float(hover(opened, 20.0)[1]["sweeps, plain"].split(" ")[0]) == pytest.approx(expected, rel=1e-4)
    choose(opened, "curves", "y", "loss")
    choose(opened, "curves", "x", "uploaded [B]")
    assert texts(opened, "#curves .label") == ["uploaded [B]", "loss"]
    choose(opened, "curves", "x", "gradients delivered")
    assert texts(opened, "#curves .label")[0] == "gradients delivered"
    assert names(opened) == ["sweeps, plain", "sweeps, doubled"]
    choose(opened, "curves", "x", "simulated time [s]")
    box = find(opened, "#curves input[name=logY]")[0]
    assert box.is_selected()
    logarithmic = np.array([float(t) for t in texts(opened, "#curves .tick.y")])
    box.click()
    linear = np.array([float(t) for t in texts(opened, "#curves .tick.y")])
    assert np.allclose(np.diff(linear), linear[1] - linear[0])
    assert logarithmic.min() > 0
    assert not np.allclose(np.diff(logarithmic), logarithmic[1] - logarithmic[0])
    click(opened, "#curves input[name=logX]")
    assert len(texts(opened, "#curves .tick.x")) > 1
    choose(opened, "tried", "x", "batch")
    assert texts(opened, "#tried .label")[0] == "batch"


def test_a_diverged_value_says_so(opened):
    """In the picture of step sizes, where the whole column is infinite."""
    click(opened, "#tried input[name=logX]")
    title, values = hover(opened, 10.0, chart="tried")
    assert title == ["learning rate: 10"]
    assert set(values.values()) == {"diverged"}


def test_a_chart_can_be_saved(opened):
    """A picture of its own, with colours and a legend in it."""
    opened.execute_script(
        "URL.createObjectURL = (blob) => { blob.text().then((t) => (window.saved = t)); return 'data:,'; }"
    )
    click(opened, "#curves .save")
    saved = opened.execute_async_script("const done = arguments[0]; setTimeout(() => done(window.saved), 50)")
    assert saved.startswith("<svg")
    assert "sweeps, doubled" in saved
    assert "stroke:rgb" in saved.replace(" ", "")


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_sticks_out(opened, width):
    """No sideways scrolling of the page on a telephone or a large screen; charts and controls lie inside of it."""
    resize(opened, width)
    opened.get(opened.current_url)
    assert opened.execute_script("return window.innerWidth") == width
    assert opened.execute_script("const page = document.documentElement; return page.scrollWidth <= page.clientWidth")
    for element in find(opened, ".controls > *, .plot > svg, .legend li"):
        if element.is_displayed():
            assert element.rect["x"] >= 0
            assert element.rect["x"] + element.rect["width"] <= width


def test_text_and_lines_can_be_seen_in_the_dark(opened):
    """Contrast with the card: 4.5 for words, 3 for lines, in both schemes."""
    for scheme in ("light", "dark"):
        features = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
        colours = opened.execute_script(
            "const s = getComputedStyle(document.documentElement);"
            "return Object.fromEntries(['card','text','quiet','good','bad','c0','c1','c2','c3','c4','c5','c6']"
            ".map((name) => [name, s.getPropertyValue('--' + name).trim()]))"
        )
        card = luminance(colours.pop("card"))
        for name, colour in colours.items():
            low, high = sorted([card, luminance(colour)])
            assert (high + 0.05) / (low + 0.05) >= (3.0 if name.startswith("c") else 4.5), (scheme, name)
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def luminance(colour):
    """Relative luminance as WCAG has it."""
    parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return float(np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722])


def test_without_a_script_there_are_charts_and_tables(driver, page):
    """What Python has drawn is there, has a size, and says what it shows."""
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        driver.execute_cdp_cmd("Page.navigate", {"url": page.as_uri() + "?still"})
        for selector, count in ((".plot > svg[role=img]", 2), ("#curves .line", 6), (".controls > *", 0), ("table", 4)):
            root = driver.execute_cdp_cmd("DOM.getDocument", {})["root"]["nodeId"]
            nodes = driver.execute_cdp_cmd("DOM.querySelectorAll", {"nodeId": root, "selector": selector})["nodeIds"]
            assert len(nodes) == count or (selector == "table" and len(nodes) >= count)
            for node in nodes[:2]:
                assert driver.execute_cdp_cmd("DOM.getBoxModel", {"nodeId": node})["model"]["width"] > 0
    finally:
        driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
        driver.get("about:blank")


def test_the_table_says_how_many_seeds(opened):
    """The table of methods is there for those who want numbers."""
    rows = texts(opened, "main table tbody tr")
    assert any("sweeps, plain" in row and f"40{int(sweep()['diverged'].sum())}{len(SEEDS)}" in row for row in rows)
