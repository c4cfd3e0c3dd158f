"""The site in a real browser: headless Chromium, by Selenium. Skipped where either is missing."""

import shutil

import pytest
from made_up import write_report

from asm.report import charts, drawing, figures

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.by import By  # noqa: E402

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no chromium with chromedriver on the PATH")
WIDTHS = (400, 1400)


@pytest.fixture(scope="module")
def site(tmp_path_factory, full_run):
    """The made-up run's site, alone in a folder: it needs no file beside it."""
    root = full_run(tmp_path_factory.mktemp("site"))
    with pytest.MonkeyPatch.context() as patched:
        for module in (drawing, charts):
            patched.setattr(module, "save", lambda *paths: None)
        patched.setattr(
            figures,
            "_drawn",
            lambda results, tsne: [
                (stem, results.focuses[0], chart)
                for stem, chart in charts.build(results, results.focuses[0], tsne).items()
            ],
        )
        out = write_report(root)
    alone = tmp_path_factory.mktemp("alone") / "index.html"
    shutil.copy(out / "index.html", alone)
    return alone


STEMS = ("fig1_tsne", "figS2_tsne", "fig_accuracy")  # those that have charts


@pytest.fixture(scope="module")
def browser(site):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_script_timeout(120)
    yield driver
    driver.quit()


@pytest.fixture(params=WIDTHS)
def opened(request, browser, site):
    # a phone's width: smaller than the smallest window, so that the page's viewport is set
    metrics = {"width": request.param, "height": 900, "deviceScaleFactor": 1, "mobile": request.param < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(site.as_uri())
    browser.execute_async_script(
        "const done = arguments[0]; window.drawn.then(() => done(), e => done(String(e)))"
    )
    return browser


def column(table, index: int) -> list[str]:
    rows = table.find_elements(By.CSS_SELECTOR, "tbody tr")
    return [row.find_elements(By.TAG_NAME, "td")[index].text for row in rows if row.is_displayed()]


def table_after(browser, heading: str):
    path = f"//h2[starts-with(., '{heading}')]/following::table[1]"
    return browser.find_element(By.XPATH, path)


def test_it_draws_every_chart_without_an_error_and_fits_the_window(opened):
    errors = [line for line in opened.get_log("browser") if line["level"] == "SEVERE"]
    assert errors == []
    charts = opened.find_elements(By.CLASS_NAME, "chart")
    assert {chart.get_attribute("id") for chart in charts} == set(STEMS)
    assert all(chart.find_elements(By.CSS_SELECTOR, "svg path") for chart in charts)
    assert opened.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    assert not opened.find_elements(By.CSS_SELECTOR, "[src^=http], link[href^=http]")


def test_tables_sort_by_number_and_back(opened):
    table = table_after(opened, "Table 2")
    head = table.find_elements(By.TAG_NAME, "th")[-1]
    for order in (1, -1):
        opened.execute_script("arguments[0].click()", head)
        shown = [float(value) for value in column(table, -1) if value]
        assert shown == sorted(shown, reverse=order < 0)
        assert column(table, -1)[-1] == ""  # blanks last
    assert len(shown) == 5


def test_a_filter_leaves_the_rows_that_hold_all_its_words(opened):
    table = table_after(opened, "Accuracy, with seeds")
    field = table.find_element(By.XPATH, "./ancestor::div[1]/preceding-sibling::input[1]")
    before = len(column(table, 0))
    field.send_keys("30 % asm")
    assert column(table, 0) == ["30 %", "30 %"]
    assert column(table, 1) == ["ASM", "ASM, Eq. 3 as printed"]
    assert before > 3
    field.clear()
    field.send_keys(" ")
    assert len(column(table, 0)) == before


def test_a_link_of_the_verdict_marks_its_row(opened):
    opened.execute_script("location.hash = '#lead-synthetic-n30'")
    opened.execute_script("mark()")
    assert "30 %" in opened.find_element(By.CSS_SELECTOR, "tr.target").text


def test_a_point_tells_its_labels_and_subset(opened):
    svg = opened.find_element(By.ID, "fig1_tsne")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", svg)
    point = svg.find_element(By.CSS_SELECTOR, ".mark-symbol path")
    opened.execute_script(
        "const box = arguments[0].getBoundingClientRect(), at = {bubbles: true, view: window,"
        " clientX: box.x + box.width / 2, clientY: box.y + box.height / 2};"
        "for (const kind of ['pointerover', 'pointermove', 'mouseover', 'mousemove'])"
        " arguments[0].dispatchEvent(new (kind[0] == 'p' ? PointerEvent : MouseEvent)(kind, at))",
        point,
    )
    told = opened.find_element(By.ID, "vg-tooltip-element")
    assert all(name in told.text for name in ("given", "true", "predicted", "subset"))
    assert "test/" in told.text
