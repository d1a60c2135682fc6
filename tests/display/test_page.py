"""The report in a browser: it fits, marks one network everywhere, sorts, and asks for nothing."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import scaling_search as ss

pytest.importorskip("selenium", reason="the extra [test] brings selenium, which drives Chromium")

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

RECORDED = Path(__file__).resolve().parents[2] / "experiments" / "fashion_mnist_small"
BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        BROWSER is None or DRIVER is None, reason="chromium and chromedriver are not installed"
    ),
]

LARGEST_BYTES = 2_000_000


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the recorded search."""
    folder = tmp_path_factory.mktemp("page") / "run"
    shutil.copytree(RECORDED, folder)
    return ss.load(folder, console=Console(quiet=True)).report()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """One Chromium without a network, which notes what pages ask for and complain about."""
    assert BROWSER is not None
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (
        *("headless", "no-sandbox", "disable-gpu", "disable-background-networking"),
        *("disable-component-update", "disable-sync", "no-first-run"),
        f"user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


def opened(
    browser: webdriver.Chrome, page: Path, *, width: int = 1280, dark: bool = False
) -> webdriver.Chrome:
    """The page, loaded anew in a window of a width."""
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    browser.get(page.as_uri())
    return browser


def run(browser: webdriver.Chrome, script: str, *values: object) -> Any:
    return browser.execute_script(f"return {script}", *values)


def marked(browser: webdriver.Chrome) -> dict[str, list[str]]:
    """The marked networks of each figure that can be seen, and of the table."""
    figures = run(
        browser,
        """Object.fromEntries([...document.querySelectorAll("figure svg")]
             .filter((svg) => svg.querySelector("[data-network]"))
             .map((svg, i) => [`figure ${i}`, [...new Set([...svg.querySelectorAll(".on")]
               .map((one) => one.dataset.network))]]))""",
    )
    rows = "[...document.querySelectorAll('.sortable tr.on')].map((row) => row.dataset.network)"
    return {**figures, "table": run(browser, rows)}


def column(browser: webdriver.Chrome, name: str) -> list[str]:
    """The cells of a column that can be seen."""
    return list(
        run(
            browser,
            """(() => { const table = document.querySelector("table.sortable");
               const i = [...table.tHead.rows[0].cells]
                 .findIndex((cell) => cell.textContent.startsWith(arguments[0]));
               return [...table.tBodies[0].rows].filter((row) => row.offsetHeight > 0)
                 .map((row) => row.cells[i].textContent); })()""".replace(
                "arguments[0]", f"{name!r}"
            ),
        )
    )


def sorted_by(browser: webdriver.Chrome, name: str) -> webdriver.Chrome:
    for button in browser.find_elements(By.CSS_SELECTOR, ".sortable th button"):
        if button.text.startswith(name):
            button.send_keys(Keys.ENTER)
    return browser


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280, 2560])
def test_nothing_sticks_out_sideways(
    browser: webdriver.Chrome, page: Path, width: int, dark: bool
) -> None:
    driver = opened(browser, page, width=width, dark=dark)
    run(driver, "document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page_width, window = (
        run(driver, f"document.documentElement.{name}Width") for name in ("scroll", "client")
    )
    assert page_width == window <= width
    background = run(driver, "getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") is not dark


def test_the_first_screen_has_the_answer(browser: webdriver.Chrome, page: Path) -> None:
    driver = opened(browser, page)
    for what in (".answer", ".first > figure svg"):
        place = driver.find_element(By.CSS_SELECTOR, what).rect
        assert place["y"] >= 0
        assert place["y"] + place["height"] <= 800, what
    assert driver.find_element(By.CSS_SELECTOR, "#against svg").rect["y"] < 600
    # Which network, of what shape, how good, how much better, at which cost; which split is best,
    # how sure, against what; what next, at which price.
    answer = driver.find_element(By.CSS_SELECTOR, ".answer").text
    for fact in (
        *("network 31", "2-3-4 blocks, 8-8-13-21-100 channels, 27 px"),
        *("test loss 0.322, accuracy 88.0 % (10 fresh seeds)", "(loss 0.347) by 0.026 (95 %"),
        *("2.10x the base network's cost", "depth 0 %, width 0 %, resolution 100 %"),
        *("cannot show that the split matters", "no significant difference from depth alone"),
        *("scaling-search search out=", "39 trainings, about"),
    ):
        assert fact in answer
    phone = opened(browser, page, width=390)
    triangle = phone.find_element(By.CSS_SELECTOR, ".first > figure svg").rect
    assert triangle["y"] < 600  # of the 844 px of a usual phone


def test_a_network_that_is_pointed_at_is_marked_in_every_figure_and_has_a_card(
    browser: webdriver.Chrome, page: Path
) -> None:
    driver = opened(browser, page)
    card = driver.find_element(By.CSS_SELECTOR, ".card")
    assert not card.is_displayed()
    number = "35"
    points = driver.find_elements(By.CSS_SELECTOR, f"svg [data-network='{number}']:not(.near) use")
    ActionChains(driver).move_to_element(points[0]).perform()
    found = marked(driver)
    assert len(found) >= 4
    assert [number] in found.values()
    assert all(names in ([number], []) for names in found.values())
    everywhere = {key for key, names in found.items() if names}
    assert {"figure 0", "figure 1", "table"} <= everywhere
    text = card.text.splitlines()
    assert text[0] == f"Network {number}"
    assert {"pixels", "alpha", "beta", "gamma", "cost", "seeds", "2.065x"} <= set(text)
    driver.find_element(By.TAG_NAME, "body").send_keys(Keys.ESCAPE)
    assert not card.is_displayed()
    assert not any(marked(driver).values())


def test_a_member_of_a_family_has_a_card_too(browser: webdriver.Chrome, page: Path) -> None:
    driver = opened(browser, page)
    member = driver.find_element(By.CSS_SELECTOR, "svg [data-network='family-width-2'] use")
    ActionChains(driver).move_to_element(member).perform()
    text = driver.find_element(By.CSS_SELECTOR, ".card").text.splitlines()
    assert text[0] == "Family width"
    assert text[text.index("phi") + 1] == "2"
    assert {"alpha", "measured cost", "seeds"} <= set(text)


def test_a_row_that_has_the_focus_marks_its_network_and_so_do_arrow_keys(
    browser: webdriver.Chrome, page: Path
) -> None:
    driver = opened(browser, page)
    run(driver, "document.querySelectorAll('.sortable tbody tr')[2].focus()")
    (number,) = marked(driver)["table"]
    assert marked(driver)["figure 0"] == [number]
    assert driver.find_element(By.CSS_SELECTOR, ".card").text.startswith(f"Network {number}\n")
    figure = driver.find_element(By.CSS_SELECTOR, "#accuracy svg")
    run(driver, "arguments[0].focus()", figure)
    assert not any(marked(driver).values())
    seen = []
    for _ in range(3):
        figure.send_keys(Keys.ARROW_RIGHT)
        seen.append(marked(driver)["figure 1"])
    assert seen == [["0"], ["1"], ["2"]]


def test_a_header_sorts_and_all_rows_come_on_a_click(browser: webdriver.Chrome, page: Path) -> None:
    driver = opened(browser, page)
    assert column(driver, "order") == ["base", *map(str, range(1, 11))]
    up = [float(cell[:-1]) for cell in column(sorted_by(driver, "cost"), "cost")]
    assert up == sorted(up)
    down = [float(cell[:-1]) for cell in column(sorted_by(driver, "cost"), "cost")]
    assert down == sorted(down, reverse=True)
    assert max(up) < min(down)
    assert len(down) == 11
    driver.find_element(By.CSS_SELECTOR, ".more").click()
    assert len(column(driver, "cost")) == 54
    sorted_by(driver, "order")
    assert column(driver, "order")[:3] == ["base", "1", "2"]
    gains = column(sorted_by(driver, "gain"), "gain")
    assert gains[-1] == "–"  # the base network's, which is not known, is last either way
    assert column(sorted_by(driver, "gain"), "gain")[-1] == "–"


def test_a_tap_on_a_phone_shows_the_card(browser: webdriver.Chrome, page: Path) -> None:
    driver = opened(browser, page, width=390)
    row = driver.find_elements(By.CSS_SELECTOR, ".sortable tbody tr")[1]
    run(driver, "arguments[0].scrollIntoView({block: 'center'})", row)
    row.find_elements(By.TAG_NAME, "td")[0].click()
    card = driver.find_element(By.CSS_SELECTOR, ".card").rect
    assert card["x"] >= 0
    assert 0 < card["width"] <= 390


def test_the_page_asks_for_nothing_and_complains_of_nothing(
    browser: webdriver.Chrome, page: Path
) -> None:
    browser.get_log("performance")
    browser.get_log("browser")
    driver = opened(browser, page)
    ActionChains(driver).move_to_element(driver.find_element(By.TAG_NAME, "h1")).perform()
    events = [json.loads(one["message"])["message"] for one in driver.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"].endswith("WillBeSent")]
    assert page.as_uri() in asked
    assert {url.partition(":")[0] for url in asked} <= {"file", "data"}
    assert [url for url in asked if url.startswith("file")] == [page.as_uri()]
    assert driver.get_log("browser") == []
    assert page.stat().st_size < LARGEST_BYTES


def test_the_policy_stops_a_script_and_an_image_that_do_not_belong(
    browser: webdriver.Chrome, page: Path, tmp_path: Path
) -> None:
    evil = "<script>document.title = 'run'</script><img src='file:///etc/hostname'>"
    text = page.read_text("utf-8")
    other = tmp_path / "other.html"
    other.write_text(text.replace("</main>", f"{evil}</main>"), encoding="utf-8")
    browser.get_log("browser")
    driver = opened(browser, other)
    assert driver.title != "run"
    refused = [one["message"] for one in driver.get_log("browser")]
    assert len(refused) >= 2
    assert all("Content Security Policy" in one for one in refused)


def test_paper_has_all_parts_and_no_buttons(browser: webdriver.Chrome, page: Path) -> None:
    driver = opened(browser, page)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        parts = "[...document.querySelectorAll('details > :not(summary)')]"
        assert run(driver, f"{parts}.every((one) => one.checkVisibility())")
        assert len(column(driver, "cost")) == 54
        assert not driver.find_element(By.CSS_SELECTOR, ".more").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_without_a_script_the_page_has_every_row(browser: webdriver.Chrome, page: Path) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        driver = opened(browser, page)
        assert len(driver.find_elements(By.CSS_SELECTOR, ".sortable tbody tr")) == 54
        assert all(row.is_displayed() for row in driver.find_elements(By.CSS_SELECTOR, ".few tr"))
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
