"""What a person sees: MLflow's pages of a delivered run, in Debian's Chromium."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from analysis import load, report
from analysis.caption import Caption
from analysis.plane import X, Y
from analysis.points import Searched
from sweeps.books import trial_rows
from sweeps.books.run_folder import RunFolder
from sweeps.books.story import Story
from sweeps.tracking.delivery import Delivery, Tracking
from sweeps.tracking.ui import Server
from tests.sweeps.journals import Z_CELLS, Z_STATES, RunMaker
from tests.sweeps.stores import EXPERIMENT
from zoneout_core.records import CHARACTERS

pytestmark = pytest.mark.needs_chromium

ARGUMENTS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
PATIENCE = 30_000  # ms: the first page loads megabytes of JavaScript


@pytest.fixture
def figure(run: RunMaker, uri: str) -> RunMaker:
    """A delivered plane of 25 trials and its heatmap."""
    run.driver()
    cells = ((z_cells, z_states) for z_cells in Z_CELLS for z_states in Z_STATES)
    for number, (z_cells, z_states) in enumerate(cells):
        run.complete(number, z_cells, z_states)
    frame = load.from_rows(trial_rows.rows(Story.of(run.folder / "journal.jsonl")), CHARACTERS)
    caption = Caption("figure3", "char_ptb", "lstm", 1, 1000, 5, CHARACTERS.label)
    report.write(frame, run.folder / "report", caption, CHARACTERS.objective, Searched(keys=(X, Y)))
    run.tell("artifact", path="report/heatmap.png", name="heatmap.png")
    run.closed()
    Tracking(uri, EXPERIMENT).save(RunFolder(run.folder))
    assert Delivery(run.folder, uri, EXPERIMENT).deliver() == 0
    return run


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=ARGUMENTS.split()
        )
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(PATIENCE)
        yield page
        browser.close()


def look(page: Page, server: Server, experiment: str, name: str, shot: Path) -> None:
    """Go from the experiment to the heatmap of a run as a person would, and take a picture of it
    (docs/ui.png)."""
    page.goto(server.page(experiment).partition("?")[0])
    page.get_by_text(
        "Model training"
    ).first.click()  # what the address asks for, but remembered by later pages
    page.goto(server.page(experiment))
    page.locator(".ag-row", has_text=name).locator(
        "button"
    ).first.click()  # unfolds the sweep's trials
    expect(page.get_by_role("link", name="00008")).to_be_visible(timeout=PATIENCE)
    page.get_by_role("link", name=name).click()
    expect(page.get_by_text("Child runs", exact=True)).to_be_visible(timeout=PATIENCE)
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_text("heatmap.png").first.click()
    picture = page.get_by_role("img", name="heatmap.png")
    expect(picture).to_be_visible(timeout=PATIENCE)
    assert picture.evaluate("image => image.naturalWidth") > 1000
    assistant = page.get_by_role("button", name="Close")
    if assistant.count():
        assistant.first.click()
    page.wait_for_timeout(1000)  # the page makes room for the picture
    page.screenshot(path=shot)


def test_the_sweep_its_trials_and_its_heatmap_are_there(
    figure: RunMaker, uri: str, page: Page, tmp_path: Path
) -> None:
    shot = tmp_path / "ui.png"
    with Server(uri, figure.folder.parent / "mlflow", 0) as server:
        look(page, server, EXPERIMENT, figure.folder.name, shot)
    assert 20_000 < shot.stat().st_size < 300_000
