"""The console in a real, headless Chromium, over real receipts. Screenshots stay outside the repository."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, async_playwright, expect

from gateway.admission.config import KeyEntry, KeyFile
from gateway.admission.keyring import hash_of, new_key, write_key_file
from gateway.faults.steps import CLOSE, Pause
from tests.fixtures.engine_server import EngineServer
from tests.fixtures.gateway import Talk, conversation
from tests.fixtures.raw_client import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]  # fmt: skip
PAGES = Path(__file__).parents[1] / "fixtures/scrapes"
MARKUP = '<img src=x onerror="document.title=1"><b>alias</b>'
SECTIONS: dict[str, Any] = {
    "models": {
        "fast": {"targets": [{"provider": "up", "model": "qwen3-8b"}], "on_failure": ["smart"], "retry": {"attempts": 1}, "price": {"input": 0.15, "output": 0.6}},
        "smart": {"targets": [{"provider": "two", "model": "large"}], "price": {"input": 3.0, "output": 15.0}},
        MARKUP: {"targets": [{"provider": "up", "model": "ok"}]},
    },
    "guardrails": {
        "private": {"use": "pii", "on": ["input", "output"], "action": "mask", "entities": ["EMAIL_ADDRESS", "IBAN_CODE"], "on_error": "closed", "deadline": "5s"},
        "phrases": {"use": "phrases", "on": ["input"], "deny": ["project bluebird"], "action": "block", "on_error": "closed", "deadline": "5s"},
    },
    "routes": {"default": {"guardrails": ["private", "phrases"], "cache": {"exact": {"ttl": "10m"}}}},
}  # fmt: skip


def artefacts() -> Path:
    """Where CI picks up pictures: TIDEGATE_ARTIFACTS, or a folder among the temporary files."""
    folder = Path(os.environ.get("TIDEGATE_ARTIFACTS") or Path(tempfile.gettempdir()) / "tidegate-artifacts")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        pytest.fail("Chromium is missing; install it: apt-get install -y --no-install-recommends chromium")
    async with async_playwright() as play:
        browser = await play.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lived(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Talk]:
    """A gateway that has seen one request of every kind, the newest last."""
    async with conversation(tmp_path_factory.mktemp("console"), **SECTIONS) as t:
        said = ["It was ninety-three degrees ", Pause(5), "in the shade", Pause(5), " and nobody moved."]
        t.upstream.script("qwen3-8b", said)
        t.spare.script("large", said)
        await t.ask("hello", model="fast")
        await t.gateway.caches.writer.drained()
        await t.ask("hello", model="fast")
        await t.ask("I am alice@example.com", model="smart", stream=True)
        await t.ask("tell me of project bluebird", model="fast")
        await t.ask("hi", model="nope")
        await t.ask("hi", model=MARKUP)
        t.upstream.reply("qwen3-8b", 503, {"error": {"message": "busy"}})
        await t.ask("fall back", model="fast", stream=True)
        t.upstream.script("qwen3-8b", ["cut " * 200, CLOSE])
        await t.ask("cut", model="fast", stream=True)
        await until(lambda: len(t.gateway.recent) == 8)
        yield t


@asynccontextmanager
async def page_of(
    browser: Browser, url: str, *, width: int = 1320, scheme: Any = "light", live: bool = True
) -> AsyncIterator[Page]:
    """The console in a fresh tab. At the end nothing may have gone wrong in it."""
    context = await browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    context.set_default_timeout(10_000)
    page = await context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "console",
        lambda said: wrong.append(said.text) if said.type == "error" and "Failed to load" not in said.text else None,
    )
    await page.goto(f"{url}/console")
    if live:
        await expect(page.locator("#state")).to_have_text("live")
    yield page
    await context.close()
    assert wrong == []


def row(page: Page, outcome: str) -> Locator:
    return page.locator("#rows > tr.row").filter(
        has=page.locator("td:nth-child(2) .badge", has_text=re.compile(f"^{outcome}$"))
    )


async def cells(found: Locator) -> list[str]:
    return [text.strip() for text in await found.locator("td").all_inner_texts()]


# --- what it shows


async def test_each_request_is_a_row(browser: Browser, lived: Talk) -> None:
    """Newest first: outcome, model and route, cache, checks, tokens, cost, times."""
    async with page_of(browser, lived.url) as page:
        outcomes = await page.locator("#rows > tr.row td:nth-child(2)").all_inner_texts()
        assert outcomes == [
            "stream cut",
            "streamed",
            "answered",
            "unknown model",
            "refused",
            "streamed",
            "cached",
            "answered",
        ]
        answered = await cells(row(page, "answered").last)
        assert answered[2].split("\n") == ["fast", "default"]
        assert answered[3:7] == ["miss", "all 3 allow", "11 / 7", "$0.000006"]
        assert all(re.fullmatch(r"[\d.]+ (µs|ms|s)", time) for time in answered[7:])
        cached = await cells(row(page, "cached"))
        assert (cached[3], cached[6]) == ("hit", "$0.000006 saved")
        masked = await cells(row(page, "streamed").last)
        assert masked[4].split("\n") == ["private mask ×1", "2 allow"]
        assert masked[6] == "$0.000138"
        refused = await cells(row(page, "refused"))
        assert "phrases block ×1" in refused[4]
        fell_back = await cells(row(page, "streamed").first)
        assert fell_back[2].startswith("fast → smart")


async def test_totals_are_the_receipts(browser: Browser, lived: Talk) -> None:
    """What the cards say is what the gateway's own receipts add up to."""
    async with page_of(browser, lived.url) as page:
        names = await page.locator("#totals dt").all_inner_texts()
        told = dict(zip(names, await page.locator("#totals dd").all_inner_texts(), strict=True))
    receipts = lived.ledger.all
    cost = sum(receipt.cost_usd or 0.0 for receipt in receipts)
    assert told["Requests"] == str(len(receipts))
    assert (told["Refused"], told["Failed"], told["Values masked"]) == ("1", "1", "1")
    assert float(told["Cost"].removeprefix("$")) == pytest.approx(cost, abs=1e-6)
    assert told["Tokens upstream"] == str(
        sum(a.usage.input_tokens + a.usage.output_tokens for r in receipts for a in r.attempts if a.usage)
    )


async def test_a_row_opens_to_its_waterfall(browser: Browser, lived: Talk) -> None:
    """Each stage and each upstream call by name and time; bars lie where the receipt says they were."""
    receipt = next(r for r in lived.ledger.all if len(r.attempts) == 2)
    async with page_of(browser, lived.url) as page:
        await row(page, "streamed").first.click()
        fall = page.locator("tr.detail .fall")
        names = [name.strip() for name in await fall.locator(".name").all_inner_texts()][1:]
        stages = [stage.name.replace("_", " ") for stage in receipt.timeline]
        assert names[: len(stages)] == stages
        assert [re.sub(r"\s+", " ", name) for name in names[len(stages) :]] == [
            "qwen3-8b at up upstream failed 503",
            "large at two fallback",
        ]
        assert len(await fall.locator(".ms").all()) == len(names) + 1
        last = receipt.attempts[-1]
        assert last.ttft is not None
        lane = await fall.locator(".lane").last.bounding_box()
        wait, got = [await bar.bounding_box() for bar in await fall.locator(".lane").last.locator(".bar").all()]
        assert lane is not None and wait is not None and got is not None  # noqa: PT018
        scale = lane["width"] / receipt.duration
        assert wait["x"] - lane["x"] == pytest.approx(last.start * scale, abs=3)
        assert wait["width"] == pytest.approx(last.ttft * scale, abs=3)
        assert got["x"] + got["width"] - lane["x"] == pytest.approx(last.end * scale, abs=3)


async def test_the_gateways_own_stages_can_be_seen_large(browser: Browser, lived: Talk) -> None:
    """Beside a model's seconds they are hairlines; before the model they fill the width."""
    async with page_of(browser, lived.url) as page:
        await row(page, "streamed").last.click()
        lane = page.locator("tr.detail .lane").nth(4)  # screen
        small = await lane.locator(".bar").bounding_box()
        button = page.get_by_role("button", name="before the model")
        await button.click()
        await expect(button).to_have_attribute("aria-pressed", "true")
        large = await lane.locator(".bar").bounding_box()
        assert small is not None and large is not None  # noqa: PT018
        assert large["width"] > 10 * small["width"]


async def test_a_detail_says_why(browser: Browser, lived: Talk) -> None:
    """Ids to search for, the cache's reason, each check's side, time and verdict."""
    receipt = next(r for r in lived.ledger.all if r.outcome == "refused")
    async with page_of(browser, lived.url) as page:
        await row(page, "refused").click()
        pane = page.locator("tr.detail .pane")
        facts = await pane.locator(".facts").inner_text()
        assert receipt.id in facts
        assert receipt.trace_id in facts
        assert "400" in facts
        check = pane.locator(".checks tbody tr", has_text="phrases block ×1")
        assert (await cells(check))[1] == "input"
        assert "denied phrase" in await check.inner_text()
        await expect(pane.locator(".bar.refused")).to_have_count(1)


async def test_markup_is_text(browser: Browser, lived: Talk) -> None:
    """An alias with markup is shown as it is spelt; no element comes of it and nothing of it runs."""
    async with page_of(browser, lived.url) as page:
        await row(page, "answered").first.click()
        assert MARKUP in await row(page, "answered").first.inner_text()
        assert await page.locator("#rows img, #rows b >> text=alias").count() == 0
        assert await page.title() == "Tidegate console"


async def test_kinds_can_be_picked(browser: Browser, lived: Talk) -> None:
    """A filter shows its kind only, and says so when there is none."""
    async with page_of(browser, lived.url) as page:
        for name, count in (("Refused", 1), ("Cached", 1), ("Failed", 1), ("Client", 1), ("Answered", 4), ("All", 8)):
            await page.get_by_role("button", name=name, exact=True).click()
            await expect(page.locator("#rows > tr.row:visible")).to_have_count(count)


# --- by keyboard, live, over time


async def test_everything_works_from_the_keyboard(browser: Browser, lived: Talk) -> None:
    """Tab reaches the rows, Enter and Space open and close them, and what is open is said to be so."""
    async with page_of(browser, lived.url) as page:
        toggle = page.locator("#rows > tr.row").first.get_by_role("button")
        for _ in range(30):
            await page.keyboard.press("Tab")
            if await toggle.evaluate("node => node === document.activeElement"):
                break
        await expect(toggle).to_be_focused()
        assert "stream cut: details" in (await toggle.get_attribute("aria-label") or "")
        for press, state in (("Enter", "true"), ("Space", "false")):
            await page.keyboard.press(press)
            await expect(toggle).to_have_attribute("aria-expanded", state)
        await page.keyboard.press("Tab")
        await expect(page.locator("#rows > tr.row").nth(1).get_by_role("button")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.locator("tr.detail")).to_have_count(1)


async def test_new_requests_appear_and_nothing_else_moves(browser: Browser, tmp_path: Path) -> None:
    """From nothing to a row while one looks; what is open and focused stays so when the next one comes."""
    async with conversation(tmp_path) as t, page_of(browser, t.url) as page:
        t.upstream.script("m", ["ok"])
        await expect(page.locator("#empty")).to_be_visible()
        assert f"curl {t.url}/v1/chat/completions" in await page.locator("#sample").inner_text()
        await page.screenshot(path=artefacts() / "console-empty.png")
        await t.ask("one")
        toggle = page.locator("#rows > tr.row").first.get_by_role("button")
        await toggle.click()
        opened = await page.locator("tr.detail .facts").inner_text()
        await t.ask("two")
        await expect(page.locator("#rows > tr.row")).to_have_count(2)
        await expect(page.locator("#empty")).to_be_hidden()
        assert await page.locator("tr.detail .facts").inner_text() == opened
        await expect(page.locator("#rows > tr.row").last.get_by_role("button")).to_be_focused()


async def test_a_rating_comes_after_its_row(browser: Browser, tmp_path: Path) -> None:
    """What the asker thought of an answer is told with it, though it was said when the row was there already."""
    async with conversation(tmp_path) as t, page_of(browser, t.url) as page:
        t.upstream.script("m", ["ok"])
        id = (await t.ask("one")).headers["x-request-id"]
        await expect(page.locator("#rows > tr.row")).to_have_count(1)
        async with page.expect_response(lambda reply: "receipts" in reply.url) as heard:
            await t.send({"id": id, "rating": "down"}, "/v1/feedback")
            await heard.value
        async with page.expect_response(lambda reply: "receipts" in reply.url) as heard:
            await heard.value
        await page.locator("#rows > tr.row").first.get_by_role("button").click()
        await expect(page.locator("tr.detail .facts")).to_contain_text(re.compile("Rated by the asker\\s*down"))


async def test_pausing_holds_the_page_still(browser: Browser, tmp_path: Path) -> None:
    """Paused, nothing is asked of the gateway; resumed, what came meanwhile is there."""
    async with conversation(tmp_path) as t, page_of(browser, t.url) as page:
        t.upstream.script("m", ["ok"])
        await page.get_by_role("button", name="Pause").click()
        await expect(page.locator("#state")).to_have_text("paused")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        await t.ask("hi")
        await page.wait_for_timeout(1500)  # longer than the page's own second
        assert asked == []
        await page.get_by_role("button", name="Resume").click()
        await expect(page.locator("#rows > tr.row")).to_have_count(1)


async def test_the_page_is_bounded(browser: Browser, tmp_path: Path) -> None:
    """However many requests there were, two hundred rows are shown and the numbers are the gateway's."""
    async with conversation(tmp_path) as t:
        t.upstream.script("m", ["ok"])
        for _ in range(13):
            await asyncio.gather(*(t.ask("hi") for _ in range(20)))
        await until(lambda: len(t.gateway.recent) == 260)
        async with page_of(browser, t.url) as page:
            await expect(page.locator("#rows > tr.row")).to_have_count(200)
            await t.ask("one more")
            await expect(page.locator("#totals dd").first).to_have_text("261")
            await expect(page.locator("#rows > tr.row")).to_have_count(200)
            assert await page.locator("#plot rect").count() == 120


async def test_a_restarted_gateway_begins_anew(browser: Browser, tmp_path: Path) -> None:
    """Its numbers begin again; the page shows its rows and none of the old process's."""
    async with conversation(tmp_path) as t, page_of(browser, t.url) as page:
        t.upstream.script("m", ["ok"])
        for _ in range(3):
            await t.ask("hi")
        await expect(page.locator("#rows > tr.row")).to_have_count(3)
        t.gateway.recent.__init__()  # type: ignore[misc]
        await t.ask("after the restart")
        await expect(page.locator("#rows > tr.row")).to_have_count(1)
        await expect(page.locator("#totals dd").first).to_have_text("1")


# --- trouble and the door


async def test_a_gateway_that_is_gone_is_said_to_be(browser: Browser, tmp_path: Path) -> None:
    """The last rows stay, with a plain word that they are old; when it answers again, that goes away."""
    async with conversation(tmp_path) as t, page_of(browser, t.url) as page:
        t.upstream.script("m", ["ok"])
        await t.ask("hi")
        await expect(page.locator("#rows > tr.row")).to_have_count(1)
        await page.context.set_offline(True)
        await expect(page.get_by_role("alert")).to_contain_text("the gateway does not answer")
        await expect(page.locator("#rows > tr.row")).to_have_count(1)
        await page.screenshot(path=artefacts() / "console-trouble.png")
        await page.context.set_offline(False)
        await expect(page.locator("#state")).to_have_text("live", timeout=15_000)
        await expect(page.get_by_role("alert")).to_have_count(0)


async def test_keys_in_force_mean_a_door(browser: Browser, tmp_path: Path) -> None:
    """Without a key nothing is shown; a common key is refused in words; an admin key opens, is kept for the tab alone, is
    nowhere on the page, and can be forgotten."""
    (admin, admin_id), (common, common_id) = new_key(), new_key()
    entries = [KeyEntry(id=admin_id, hash=hash_of(admin), admin=True), KeyEntry(id=common_id, hash=hash_of(common))]
    write_key_file(tmp_path / "keys.yaml", KeyFile(keys=entries))
    async with conversation(tmp_path, access={"keys": "keys.yaml"}) as t:
        t.upstream.script("m", ["ok"])
        await t.ask("hi", headers={"authorization": f"Bearer {common}"})
        async with page_of(browser, t.url, live=False) as page:
            field = page.get_by_label("Admin key")
            await expect(field).to_be_focused()
            await expect(page.locator("#content")).to_be_hidden()
            await field.fill(common)
            await page.keyboard.press("Enter")
            await expect(page.get_by_role("alert")).to_contain_text("may not see the console")
            await page.screenshot(path=artefacts() / "console-door.png")
            await field.fill(admin)
            await page.keyboard.press("Enter")
            await expect(page.locator("#rows > tr.row")).to_have_count(1)
            await expect(page.locator("#login")).to_be_hidden()
            assert admin not in await page.content()
            assert admin not in page.url
            await page.reload()
            await expect(page.locator("#rows > tr.row")).to_have_count(1)
            await page.get_by_role("button", name="Forget key").click()
            await expect(page.locator("#login")).to_be_visible()
            await expect(page.locator("#rows > tr.row")).to_have_count(0)
            assert await page.evaluate("sessionStorage.length + localStorage.length") == 0


# --- over time


SHOP: dict[str, Any] = {
    "routes": {
        "default": {"cache": {"exact": {"ttl": "10m"}, "semantic": {"evidence": "assume", "max_false_hit_rate": 0.02}}},
        "shop": {
            "match": {"models": ["shop"]},
            "cache": {"semantic": {"max_false_hit_rate": 0.01}},
            "intents": {
                "examples": {
                    "opening_hours": ["when do you open", "what are your opening hours", "are you open on sunday"],
                    "refund": ["I want my money back", "please refund my order", "how do I get a refund"],
                    "out_of_scope": ["tell me a joke", "what is the capital of Peru"],
                },
                "margin": 0.0,
                "below": 0.1,
                "budget": "5s",
                "then": {"opening_hours": {"answer": "From nine to five."}, "refund": {"model": "m"}},
            },
        },
    },
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def trended(minilm_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Talk]:
    """A gateway with two caches and two intents, after a dozen requests."""
    async with conversation(tmp_path_factory.mktemp("trends"), **SHOP) as t:
        t.upstream.script("m", ["ok"])
        for question in ("How do I bake bread?", "What is the default port of Postgres?"):
            await t.ask(question)
            await t.gateway.caches.writer.drained()
            for _ in range(3):
                await t.ask(question)
        await t.ask("please, what's the default port of postgres")
        for question in ("when do you open", "are you open on sunday", "please refund my order"):
            await t.ask(question, model="shop")
        await until(lambda: len(t.gateway.recent) == 12)
        yield t


def share(part: int, of: int) -> str:
    return re.sub(r"\.0$", "", f"{100 * part / of:.1f}") + f" % ({part} of {of})"


async def labels(page: Page) -> dict[str, str]:
    """What each plot says to those who do not see it, as soon as it says anything."""
    found = {}
    for name in ("hits", "bounds", "routes", "intents"):
        svg = page.locator(f"#trend-{name} svg")
        await expect(svg).to_have_attribute("aria-label", re.compile(r"\d"), timeout=10_000)
        found[name] = await svg.get_attribute("aria-label") or ""
    return found


async def test_the_plots_say_what_the_receipts_say(browser: Browser, trended: Talk) -> None:
    """Hit rates, routes and intents add up to the receipts; a route says its bound, its limit and whether it serves."""
    receipts = trended.ledger.all
    of = {kind: sum(r.cache == kind for r in receipts) for kind in ("hit", "semantic", "miss")}
    assert of["hit"] == 6
    assert sum(r.intent != "" for r in receipts) == 3
    async with page_of(browser, trended.url) as page:
        told = await labels(page)
    lookups = sum(of.values())
    assert f"exact: {share(6, lookups)}" in told["hits"]
    assert f"semantic: {share(of['semantic'], lookups)}" in told["hits"]
    assert told["routes"].endswith(". default: 9; shop: 3")
    intents = {name: sum(r.intent == name for r in receipts) for name in ("opening_hours", "refund")}
    assert all(f"{name.replace('_', ' ')}: {count}" in told["intents"] for name, count in intents.items())
    assert "default: assumed, limit 2 %, serving on your word; 0 right, 0 wrong, 0 unclear" in told["bounds"]
    assert "shop: 100 %, limit 1 %, in shadow" in told["bounds"]


async def test_a_plot_can_be_read_with_pointer_and_keys(browser: Browser, trended: Talk) -> None:
    """A line at the bucket and its numbers; the arrow keys go on from the newest; the table below has the same."""
    async with page_of(browser, trended.url) as page:
        await labels(page)
        plot = page.locator("#trend-routes")
        await expect(plot.locator(".tip")).to_be_hidden()
        newest = (await trended.http.get("/console/api/series")).json()["routes"][0]["values"]
        back = next(at for at, count in enumerate(reversed(newest), 1) if count)
        await plot.locator("svg").focus()
        for _ in range(back):
            await page.keyboard.press("ArrowLeft")
        await expect(plot.locator(".tip")).to_contain_text(re.compile(r"default \d"))
        await page.screenshot(path=artefacts() / "console-trends-read.png", full_page=True)
        await page.keyboard.press("Escape")
        await expect(plot.locator(".tip")).to_be_hidden()
        await plot.locator("svg").hover()
        await expect(plot.locator(".tip")).to_be_visible()
        await plot.get_by_text("Numbers").click()
        rows = await plot.locator(".numbers tbody tr").all_inner_texts()
        assert sum(int(row.split("\t")[1]) for row in rows) == 9
        assert sum(int(row.split("\t")[2]) for row in rows) == 3


async def test_a_longer_time_is_one_press_away(browser: Browser, trended: Talk) -> None:
    """The same numbers in buckets of a minute."""
    async with page_of(browser, trended.url) as page:
        await labels(page)
        await page.get_by_role("button", name="3 hours").click()
        svg = page.locator("#trend-routes svg")
        await expect(svg).to_have_attribute("aria-label", "Requests by route, last 3 hours. default: 9; shop: 3")


async def test_plots_move_with_what_comes(browser: Browser, tmp_path: Path) -> None:
    """Without a semantic cache, look-ups or intents the plots say so in words; a request shows without a reload."""
    async with conversation(tmp_path) as t, page_of(browser, t.url) as page:
        t.upstream.script("m", ["ok"])
        for count in (1, 2):
            await t.ask("hi")
            await expect(page.locator("#trend-routes svg")).to_have_attribute(
                "aria-label", re.compile(f"default: {count}$")
            )
        await expect(page.locator("#trend-hits .nothing")).to_have_text("No cache was asked in this time.")
        await expect(page.locator("#trend-bounds .nothing")).to_have_text("No route has a semantic cache.")
        await expect(page.locator("#trend-intents .nothing")).to_have_text("No intent was told in this time.")
        await page.screenshot(path=artefacts() / "console-trends-empty.png", full_page=True)


# --- pools


@asynccontextmanager
async def pooled(folder: Path) -> AsyncIterator[tuple[Talk, list[EngineServer]]]:
    """A gateway over two engines, one of which does not tell how full its cache is."""
    page = (PAGES / "vllm-0.11.txt").read_text()
    models = (PAGES / "vllm-models.json").read_text()
    pages = [page, page.replace("vllm:kv_cache_usage_perc", "vllm:kv_share").replace(" 4.0", " 0.0")]
    async with contextlib.AsyncExitStack() as stack:
        engines = [
            EngineServer({"/health": (200, ""), "/metrics": (200, body), "/v1/models": (200, models)}) for body in pages
        ]
        for engine in engines:
            await stack.enter_async_context(engine)
        quick = {"every": "100ms"}
        gpu = {"type": "vllm", "endpoints": [engine.base_url for engine in engines], "health": quick, "metrics": quick}
        t = await stack.enter_async_context(conversation(folder, providers={"gpu": gpu}))
        await until(lambda: all(endpoint.reading for endpoint in t.gateway.pools.all["gpu"].endpoints.all))
        yield t, engines


async def test_each_endpoint_of_a_pool_is_a_row(browser: Browser, tmp_path: Path) -> None:
    """What its engine tells, what is missing of that, and how it is; rented providers are not there."""
    async with pooled(tmp_path) as (t, engines), page_of(browser, t.url) as page:
        rows = page.locator("#pool-rows > tr")
        await expect(rows).to_have_count(2)
        told = [await cells(rows.nth(at)) for at in range(2)]
        assert told[0][0].split("\n") == [f"127.0.0.1:{engines[0].port}", "gpu"]
        assert told[0][1] == "well"
        assert (told[0][2], told[0][3], told[0][4]) == ("0", "7 / 4", "50 %")
        assert (told[1][3], told[1][4]) == ("7 / 0", "–")
        assert told[1][1].split("\n") == ["well", "1 metric missing"]
        await expect(page.locator("#pool-trouble")).to_contain_text("engine metrics are missing")
        await engines[0].stop()
        await expect(rows.nth(0)).to_contain_text("ill")
        await page.screenshot(path=artefacts() / "console-pools.png", full_page=True)


async def test_an_endpoint_is_drained_and_taken_back(browser: Browser, tmp_path: Path) -> None:
    """With a button that works from the keyboard, and keeps the focus while the table is told anew."""
    async with pooled(tmp_path) as (t, _), page_of(browser, t.url) as page:
        first = t.gateway.pools.all["gpu"].endpoints.all[0]
        button = page.locator("#pool-rows button").first
        await button.press("Enter")
        await expect(page.locator("#pool-rows > tr").first).to_contain_text("drained")
        assert first.draining
        await expect(button).to_have_text("Take back")
        await button.press("Enter")
        await expect(button).to_have_text("Drain")
        assert not first.draining


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1320, 820, 390, 320])
async def test_pools_fit_and_can_be_read(browser: Browser, tmp_path: Path, width: int, scheme: str) -> None:
    """On wide and narrow screens, in light and dark."""
    async with pooled(tmp_path) as (t, _), page_of(browser, t.url, width=width, scheme=scheme) as page:
        await expect(page.locator("#pool-rows > tr")).to_have_count(2)
        await page.screenshot(path=artefacts() / f"console-pools-{width}-{scheme}.png", full_page=True)
        assert await page.evaluate(FITS) == []
        assert await page.evaluate(READABLE) == []


async def test_without_pools_there_is_no_table(browser: Browser, lived: Talk) -> None:
    """Rented providers are single endpoints: of those the requests say enough."""
    async with page_of(browser, lived.url) as page:
        await expect(page.locator("#rows > tr.row").first).to_be_visible()
        await expect(page.locator("#pools")).to_be_hidden()


# --- how it looks


READABLE = """() => {
  const canvas = document.createElement("canvas"); canvas.width = canvas.height = 1;
  const ink = canvas.getContext("2d", {willReadFrequently: true});
  const lum = ([r, g, b]) => [r, g, b].map(c => (c /= 255) <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, at) => sum + c * [.2126, .7152, .0722][at], 0);
  const paint = colours => { for (const c of colours) { ink.fillStyle = c; ink.fillRect(0, 0, 1, 1); } return [...ink.getImageData(0, 0, 1, 1).data]; };
  const poor = [];
  for (const node of document.body.querySelectorAll("*")) {
    const own = [...node.childNodes].some(child => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.checkVisibility() || node.closest("svg")) continue;
    const under = [];
    for (let at = node; at; at = at.parentElement) under.unshift(getComputedStyle(at).backgroundColor);
    const back = paint(under), front = paint([...under, getComputedStyle(node).color]);
    const [high, low] = [lum(back), lum(front)].sort((a, b) => b - a);
    const ratio = (high + .05) / (low + .05);
    if (ratio < 4.5) poor.push(`${ratio.toFixed(2)} ${node.className || node.tagName}: ${node.textContent.slice(0, 30)}`);
  }
  return poor;
}"""
FITS = """() => {
  const over = [];
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > width) over.push("page");
  for (const node of document.querySelectorAll("#content *")) {
    if (!node.checkVisibility() || node.closest(".scroll .checks")) continue;
    const box = node.getBoundingClientRect();
    if (box.width && box.right > width + 1) over.push(node.className || node.tagName);
  }
  return over;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1320, 820, 390, 320])
async def test_it_fits_and_can_be_read(browser: Browser, lived: Talk, width: int, scheme: str) -> None:
    """On wide and narrow screens, in light and dark: nothing sticks out, and every text has a contrast of 4.5 to 1."""
    async with page_of(browser, lived.url, width=width, scheme=scheme) as page:
        await row(page, "streamed").first.click()
        await row(page, "refused").click()
        await page.mouse.move(0, 0)
        await page.screenshot(path=artefacts() / f"console-{width}-{scheme}.png", full_page=True)
        assert await page.evaluate(FITS) == []
        assert await page.evaluate(READABLE) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1320, 390])
async def test_plots_fit_and_can_be_read(browser: Browser, trended: Talk, width: int, scheme: str) -> None:
    """Legends, scales and an open table on wide and narrow screens, in light and dark."""
    async with page_of(browser, trended.url, width=width, scheme=scheme) as page:
        await labels(page)
        await page.locator("#trend-hits svg").focus()
        await page.keyboard.press("End")
        await page.screenshot(path=artefacts() / f"console-trends-{width}-{scheme}.png", full_page=True)
        assert await page.evaluate(FITS) == []
        assert await page.evaluate(READABLE) == []
