"""What a report carries: the numbers of `results.best` and `results.band`, safely embedded, and errors in one sentence."""

import json
import re

import jax
import numpy as np
import optax
import pytest
import xarray
from report_results import BATCHES, RATES, SEEDS, embedded, run, sweep

import jasgd
import jasgd.cli
from jasgd.report.charts import MOST_RECORDS, MOST_SERIES
from jasgd.report.files import read
from jasgd.report.methods import methods_of
from jasgd.results import band, best, final, save_dataset, save_datasets


def stored(tmp_path, dataset, name="found.nc"):
    save_dataset(dataset, tmp_path / name)
    return tmp_path / name


def methods(path, **options):
    return [method for result in read([path]) for method in methods_of(result, **options)]


def test_curves_are_the_band_at_the_best_point(tmp_path):
    """Every metric, at the point that `results.best` chooses, with `results.band` over the seeds."""
    dataset = sweep()
    (found,) = methods(stored(tmp_path, dataset))
    chosen = best(dataset, over=["learning_rate", "batch"])
    assert found.choice == {"learning_rate": chosen["learning_rate"].item(), "batch": chosen["batch"].item()}
    for metric in ("loss", "accuracy"):
        expected = band(chosen[metric])
        for name in ("low", "median", "high"):
            np.testing.assert_array_equal(getattr(found.curves[metric], name), expected[name])
            np.testing.assert_array_equal(getattr(found.ends[metric], name)[0], band(final(chosen, metric))[name])
    assert (found.seeds, found.points, found.diverged) == (5, 8, int(dataset["diverged"].sum()))


def test_the_page_has_these_numbers_to_seven_digits(tmp_path):
    """What is embedded, and what the table says."""
    dataset = sweep()
    page = jasgd.report.write(stored(tmp_path, dataset), tmp_path / "page.html").read_text()
    expected = band(best(dataset, over=["learning_rate", "batch"])["loss"])["median"].values
    table = embedded(page)["curves"]["series"][0]["tables"][0]
    np.testing.assert_allclose(table["ys"]["loss"]["median"], expected, rtol=1e-6)
    assert f"{expected[-1]:.4g}" in page
    assert "of which 12 diverged" in page


def test_axes_are_those_that_the_data_has(tmp_path):
    """Seconds, updates, gradients and bytes; no bytes, no such axis."""
    (found,) = methods(stored(tmp_path, sweep()))
    batch = found.choice["batch"]
    assert list(found.axes) == ["simulated time [s]", "server updates", "gradients delivered", "uploaded [B]"]
    np.testing.assert_array_equal(found.axes["gradients delivered"], batch * found.axes["server updates"])
    (found,) = methods(stored(tmp_path, sweep().drop_vars(["uploaded_bytes", "version"])))
    assert list(found.axes) == ["simulated time [s]"]


def test_step_sizes_show_the_best_of_the_other_values(tmp_path):
    """At every learning rate the batch with the smallest median; infinite where most runs diverged; the choice marked."""
    dataset = sweep()
    (found,) = methods(stored(tmp_path, dataset))
    rates, batches = found.tried
    ends = final(dataset).fillna(np.inf).median("seed")
    assert (rates.name, rates.values.tolist(), batches.values.tolist()) == ("learning_rate", RATES, BATCHES)
    assert rates.chosen == RATES.index(found.choice["learning_rate"])
    at = ends.argmin("batch").values
    for i, rate in enumerate(RATES):
        expected = band(final(dataset).sel(learning_rate=rate).isel(batch=at[i]))
        assert rates.ends["loss"].median[i] == float(expected["median"])
        assert rates.ends["loss"].high[i] == float(expected["high"])
    assert np.isinf(rates.ends["loss"].median[3])


def test_values_shown_side_by_side_are_not_chosen_from(tmp_path):
    """`each` makes a method of every value, each with its own best learning rate."""
    dataset = sweep()
    path = stored(tmp_path, dataset)
    found = methods(path, each=["batch"])
    assert [method.parts for method in found] == [["batch=4"], ["batch=16"]]
    for method, batch in zip(found, BATCHES, strict=True):
        chosen = best(dataset.sel(batch=batch), over="learning_rate")
        assert method.choice == {"learning_rate": chosen["learning_rate"].item()}
    page = jasgd.report.write(path, tmp_path / "page.html", each=["batch"]).read_text()
    assert [one["name"] for one in embedded(page)["curves"]["series"]] == ["batch=4", "batch=16"]


def test_words_tell_methods_apart_and_untried_points_are_no_runs(tmp_path):
    """Sweeps laid side by side, as experiments store them: a rate that one of them did not try is missing, not diverged."""
    parts = [sweep().isel(batch=0, learning_rate=[0, 1]), sweep(scale=2.0).isel(batch=0, learning_rate=[1, 2])]
    parts = [part.drop_vars(["diverged", "version", "uploaded_bytes", "batch"]) for part in parts]
    dataset = xarray.concat(parts, "algorithm", join="outer", combine_attrs="override")
    first, second = methods(stored(tmp_path, dataset.assign_coords(algorithm=["plain", "heavy"])))
    assert (first.parts, first.points, second.parts, second.points) == (["plain"], 2, ["heavy"], 2)
    assert (first.diverged, second.diverged) == (0, 1)


def test_a_list_of_points_is_searched_as_well(tmp_path):
    """A grid that is no product has one dimension, `point`."""
    dataset = sweep().isel(batch=0).drop_vars("batch").rename(learning_rate="point")
    rates = ("point", dataset["point"].values)
    dataset = dataset.drop_vars("point").assign_coords(learning_rate=rates)
    (found,) = methods(stored(tmp_path, dataset))
    assert found.choice == {"learning_rate": best(dataset, over="point")["learning_rate"].item()}
    assert found.tried[0].values.tolist() == RATES


def test_a_single_run_has_a_curve_without_a_band(tmp_path):
    """`run.to_dataset()`."""
    (found,) = methods(stored(tmp_path, run()))
    assert found.curves["loss"].median.tolist() == [1.0, 0.5, 0.25]
    assert found.curves["loss"].low is None
    assert found.choice == {}
    page = jasgd.report.write(tmp_path / "found.nc", tmp_path / "page.html").read_text()
    assert "low" not in embedded(page)["curves"]["series"][0]["tables"][0]["ys"]["loss"]


def test_records_that_some_seeds_lack_are_left_out_and_counted(tmp_path):
    """Schedules of different lengths: the band is over all seeds or not shown."""
    dataset = sweep().isel(learning_rate=[1], batch=[0]).swap_dims(time="record").drop_vars(["version", "uploaded_bytes"])
    time = dataset["time"].values * np.ones((len(SEEDS), 1))
    time[1, 4] = np.nan
    dataset = dataset.drop_vars("time").rename(record="version")
    dataset = dataset.assign_coords(time=(("seed", "version"), time, {"units": "s"}), version=[0, 1, 2, 3, 4])
    path = stored(tmp_path, dataset)
    (found,) = methods(path)
    assert (found.records, found.cut) == (4, 1)
    assert "Up to 1 records that not all seeds have are left out." in jasgd.report.write(path, tmp_path / "page").read_text()


def test_several_results_are_told_apart(tmp_path):
    """By group, by file, and by folder where our commands gave the files their names."""
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        save_datasets({"a": sweep(), "b": sweep(scale=2.0)}, tmp_path / folder / "results.nc", {"configuration": "key = 0"})
    save_dataset(run(), tmp_path / "single.nc")
    paths = [tmp_path / "one/results.nc", tmp_path / "two/results.nc", tmp_path / "single.nc"]
    page = jasgd.report.write(paths, tmp_path / "page.html").read_text()
    names = ["one, a", "one, b", "two, a", "two, b", "single"]
    assert [one["name"] for one in embedded(page)["curves"]["series"]] == names
    assert page.count("key = 0") == 2
    page = jasgd.report.write(paths[0], tmp_path / "page.html").read_text()
    assert [one["name"] for one in embedded(page)["curves"]["series"]] == ["a", "b"]


def test_staleness_versions_and_real_time_are_shown(tmp_path):
    """What is stored about schedules, and where the result comes from."""
    page = jasgd.report.write(stored(tmp_path, sweep()), tmp_path / "page.html").read_text()
    text = re.sub("<[^>]+>", " ", page)
    assert re.search(r"found, batch=16\s+1\s+1.6\s+0\s+1\s+2\s+3\s+16", text)
    for said in (f"jasgd {jasgd.__version__}", "1.5 s", "git revision", "device", "created", "[0, 0]"):
        assert said in text


def test_simulations_store_their_delays(tmp_path):
    """Mean, quantiles and maximum of the schedule; how many gradients make a step; seconds of real time."""
    problem, schedule = jasgd.problems.quadratic(dim=4), jasgd.protocols.asynchronous(jasgd.fleet.power_law(4, 1.0), 40)
    found = jasgd.simulate(problem, optax.sgd(0.1), schedule, key=jax.random.key(0)).provenance
    swept = jasgd.sweep(problem, optax.sgd(0.1), schedule, key=jax.random.key(0)).attrs
    (one,) = json.loads(found["schedules"])
    assert one["delay"]["mean"] == schedule.delay.mean()
    assert one["delay"]["max"] == schedule.delay.max()
    assert one["delay"]["quantiles"] == list(schedule.summary().delay_quantiles)
    assert one["deliveries_per_update"] == 1
    assert json.loads(swept["schedules"]) == [one]
    assert float(found["seconds"]) >= 0
    assert float(swept["seconds"]) >= 0


def test_a_search_is_shown(tmp_path):
    """evaluations.json of `jasgd tune`: its values and the smallest so far."""
    space = jasgd.tune.space({"x": [-1, 0, 2]})
    result = jasgd.tune.search(lambda points: [p["x"] ** 2 for p in points], space, budget=3, backend="grid")
    result.save(tmp_path / "evaluations.json")
    (found,) = methods(tmp_path / "evaluations.json")
    assert found.curves["smallest value so far"].median.tolist() == result.best_so_far.tolist()
    assert list(found.axes) == ["evaluations"]
    assert (found.choice, found.points) == ({"x": 0}, 3)
    assert "&quot;x&quot;: 0" in jasgd.report.write(tmp_path / "evaluations.json", tmp_path / "page.html").read_text()


def test_claims_are_checked_again(tmp_path):
    """A figure says which paper it belongs to; its claims come from the checkout."""
    rates = np.array([0.1, 0.11])
    limit = (("rule", "model"), np.ones((2, 2)))
    dataset = xarray.Dataset(
        {"limit": limit},
        {"rule": ["constant", "delay-adaptive"], "model": ["equal", "i"], "learning_rate": rates},
        jasgd.results.provenance(paper="mishchenko2022", figure="2"),
    )
    page = jasgd.report.write(stored(tmp_path, dataset), tmp_path / "page.html").read_text()
    assert "Claims: mishchenko2022, figure 2" in page
    assert page.count('class="verdict') == 4
    assert '<span class="verdict does-not-hold">does not hold</span>' in page


def test_words_in_results_cannot_leave_their_place(tmp_path):
    """Labels and attributes with HTML in them are shown as they are, in the text and in the data."""
    evil = '</script><script>alert("x")</script><img src=x onerror=alert(1)> & \' "'
    dataset = xarray.concat([sweep(), sweep(scale=2.0)], "algorithm", combine_attrs="override")
    dataset = dataset.assign_coords(algorithm=[evil, "\u2028<!--"]).assign_attrs(problem=evil)
    page = jasgd.report.write(stored(tmp_path, dataset), tmp_path / "page.html", title=evil).read_text()
    assert [one["name"] for one in embedded(page)["curves"]["series"]] == [evil, "\u2028<!--"]
    assert page.count("<script") == page.count("</script>") == 2
    assert "<img" not in page
    assert "<!--" not in page


def test_a_page_needs_nothing_else(tmp_path):
    """No address of a network but the names of XML."""
    page = jasgd.report.write(stored(tmp_path, sweep()), tmp_path / "page.html").read_text()
    addresses = set(re.findall(r"https?://[^\s\"'<]+", page))
    assert addresses == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<link[^>]+href=\"(?!data:)|<script[^>]+src=|@import", page)


def test_a_huge_sweep_gives_a_small_page_that_says_what_it_leaves_out(tmp_path):
    """10 000 runs of 400 records in less than a megabyte."""
    records = np.arange(400)
    values = np.exp(-np.multiply.outer(np.linspace(0.001, 0.01, 40), records))[:, None] * np.ones((1, 250, 1))
    dataset = xarray.Dataset(
        {"loss": (("momentum", "seed", "version"), values.astype(np.float32))},
        {"momentum": np.linspace(0, 1, 40), "version": records, "time": ("version", records * 1.0)},
        jasgd.results.provenance(),
    )
    path = stored(tmp_path, dataset)
    page = jasgd.report.write(path, tmp_path / "page.html", each=["momentum"]).read_text()
    assert len(page) < 1_000_000
    assert "10,000 runs" in page
    assert f"Of 40 methods the best {MOST_SERIES} are drawn; the table has them all." in page
    assert f"Of up to 400 records of a run {MOST_RECORDS} or fewer are drawn." in page
    assert len(embedded(page)["curves"]["series"]) == MOST_SERIES
    assert page.count("<b>momentum=") == 40


@pytest.mark.parametrize(
    ("paths", "sentence"),
    [
        (["nowhere.nc"], "there is no result .*nowhere.nc"),
        (["text.nc"], "text.nc cannot be read as netCDF"),
        (["foreign.nc"], "foreign.nc is not a result of jasgd: it lacks the attribute `jasgd`"),
        (["empty.nc"], "empty.nc is empty"),
        (["text.json"], "text.json is not a result of jasgd"),
        (["."], "is a folder; name a file in it: .*nc"),
        (["loss.nc", "risk.nc"], r"no metric in common \(loss: loss; risk: risk\); write a page for each"),
        ([], "name at least one result"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_sentence(tmp_path, paths, sentence):
    """Which file, and what is wrong with it."""
    (tmp_path / "text.nc").write_text("no netCDF")
    (tmp_path / "text.json").write_text("{}")
    xarray.Dataset({"a": ("x", [1.0])}).to_netcdf(tmp_path / "foreign.nc", engine="h5netcdf")
    xarray.Dataset(attrs={"jasgd": "0"}).to_netcdf(tmp_path / "empty.nc", engine="h5netcdf")
    for name in ("loss", "risk"):
        save_dataset(sweep(metric=name).drop_vars("accuracy"), tmp_path / f"{name}.nc")
    with pytest.raises(ValueError, match=sentence) as error:
        jasgd.report.write([tmp_path / path for path in paths], tmp_path / "page.html")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"each": ["batches"]}, "`each` must be names of a grid, out of batch, learning_rate.*; got 'batches'"),
        ({"metric": "risk"}, "`metric` must be out of loss, accuracy of found, got 'risk'"),
        ({"out": "/dev/null/page.html"}, "the page cannot be written to /dev/null/page.html"),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path, options, sentence):
    """Names and places that there are not."""
    options = {"out": tmp_path / "page.html", **options}
    with pytest.raises(ValueError, match=sentence):
        jasgd.report.write(stored(tmp_path, sweep()), **options)


def test_the_command_writes_a_page(tmp_path, monkeypatch, capsys):
    """`jasgd report RESULT --title TITLE`, in words or as JSON; an error is one sentence and a code."""
    stored(tmp_path, sweep())
    monkeypatch.chdir(tmp_path)

    def command(*words):
        monkeypatch.setattr("sys.argv", ["jasgd", "report", *words])
        with pytest.raises(SystemExit) as ended:
            jasgd.cli.main()
        return ended.value.code, *capsys.readouterr()

    assert command("found.nc", "--title", "My <page>", "--each", "batch") == (0, "page  report.html\n", "")
    assert "<title>My &lt;page&gt;</title>" in (tmp_path / "report.html").read_text()
    code, told, _ = command("found.nc", "--json")
    assert (code, json.loads(told)) == (0, {"files": {"page": "report.html"}})
    assert command("nothing.nc") == (1, "", "jasgd: there is no result nothing.nc.\n")
