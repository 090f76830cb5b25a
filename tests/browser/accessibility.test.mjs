// The pages for everyone: axe's rules (WCAG 2.2 AA and good practice) in every state and look, the keyboard alone,
// text twice as large, a window as narrow as a strongly magnified one, the language that the page says it is in.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { after, afterEach, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { axe, inEachLook, LOOKS, nothingLost, tabThrough } from "./accessibility.mjs";
import { startBrain } from "./brain.mjs";
import { call, launch, microphoneFile, notice, open } from "./browser.mjs";
import { startGateway, untilFree } from "./gateway.mjs";

const ANSWER_MS = 60_000;

let brain, gateway, browser;
before(async () => {
  brain = await startBrain();
  gateway = await startGateway("--llm-url", brain.url, "--llm-model", "rules", "--no-fillers");
  browser = await launch({ microphone: microphoneFile("What is the capital of France?") });
});
after(async () => {
  await browser?.close();
  await gateway?.stop();
  brain?.stop();
});

// A page that a failed test has left would go on with its call.
afterEach(() => Promise.all(browser?.contexts().map((context) => context.close()) ?? []));

/** A page at rest, with what the gateway says of itself. */
async function atRest(options, path = "") {
  const page = await open(browser, new URL(path, gateway.base).href, options);
  await page.waitForLoadState("networkidle");
  return page;
}

/** From here on the microphone is silent: words that come up while axe looks would be judged half faded in. */
const hush = (page) => page.evaluate(() => (window.eva.muted = true));

const sound = (state) => async (page, look) => {
  await axe(page, `${state}, ${look}`);
  await nothingLost(page, `${state}, ${look}`);
};

test("at rest: axe objects to nothing, and nothing is cut off", async () => {
  for (const [language, locale] of [["English", "en-US"], ["French", "fr-FR"]]) {
    const page = await atRest({ locale });
    await inEachLook(page, (look) => sound(`at rest, ${language}`)(page, look));
    assert.deepEqual(page.trouble, []);
    await page.context().close();
  }
});

test("in a call, with what was said and what EVA answers: the same", async () => {
  const page = await atRest();
  await call(page);
  await page.locator("#captions li.you.settled").first().waitFor({ timeout: ANSWER_MS });
  await page.locator("#captions .word.now").first().waitFor({ timeout: ANSWER_MS });
  await page.evaluate(() => {
    // Beside the real answer, what else captions can show: words still coming, and words cut off.
    const say = (message) => window.eva.handle(JSON.stringify(message));
    const words = ["Yes,", "Paris", "is", "big."].map((text, i) => ({ text: text.replace(/\W/g, ""), start: i * 9600, end: i * 9600 + 9000 }));
    say({ type: "eva.words", reply_id: "cut", text: "Yes, Paris is big.", words, rtp_start: 0 });
    say({ type: "eva.cut", reply_id: "cut", heard_text: "yes paris", rtp_at: 19200 });
    say({ type: "eva.partial", text: "And what about" });
  });
  await inEachLook(page, (look) => sound("in a call")(page, look));
  await page.locator("#mute").click();
  await axe(page, "muted");
  await page.locator("#call").click();
  await untilFree(gateway.base, 1000);
  await inEachLook(page, (look) => sound("after a call")(page, look), LOOKS.slice(0, 4));
  assert.deepEqual(page.trouble, []);
  await page.context().close();
});

test("in a call in French: the same", async () => {
  const page = await atRest({ locale: "fr-FR" });
  await hush(page);
  await page.locator("#call").click();
  await page.waitForFunction(() => window.eva.state === "connected");
  await inEachLook(page, (look) => sound("in a call, French")(page, look), LOOKS.slice(0, 5));
  await page.context().close();
  await untilFree(gateway.base, 1000);
});

test("a notice: the same, and it is announced", async () => {
  const page = await open(browser, "about:blank");
  await page.route("**/offer", (route) => route.abort());
  await page.goto(gateway.base);
  await page.locator("#call").click();
  await notice(page, "unreachable");
  assert.equal(await page.locator("#notice").getAttribute("role"), "alert");
  await inEachLook(page, (look) => sound("with a notice")(page, look));
  await page.context().close();
});

test("the page of the API: the same, with a door open too", async () => {
  const page = await atRest({}, "api");
  await page.locator(".group").first().waitFor();
  await inEachLook(page, (look) => sound("/api")(page, look));
  await page.locator(".list > details summary").nth(1).click();
  await inEachLook(page, (look) => axe(page, `/api, a door open, ${look}`), LOOKS.slice(0, 5));
  assert.deepEqual(page.trouble, []);
  await page.context().close();
});

const admin = fileURLToPath(new URL("../../web/admin.html", import.meta.url));
test("the operator's page: the same", { skip: !existsSync(admin) && "there is no such page" }, async () => {
  const page = await open(browser, new URL("admin", gateway.base).href);
  await page.locator("#view h1").waitFor();
  await page.waitForTimeout(1500); // its figures come over a connection that stays open
  await inEachLook(page, (look) => sound("/admin")(page, look));
  await tabThrough(page, "/admin");
  assert.deepEqual(page.trouble, []);
  await page.context().close();
});

const focused = (page) => page.evaluate(() => document.activeElement?.id);

test("the settings, open: the same, and Escape closes them and gives the focus back", async () => {
  for (const locale of ["en-US", "fr-FR"]) {
    const page = await atRest({ locale });
    const settings = page.locator("#settings");
    const open = async () => {
      await page.locator("#open-settings").focus();
      await page.keyboard.press("Enter");
      await settings.waitFor();
    };
    await open();
    await inEachLook(page, (look) => sound(`settings, ${locale}`)(page, look));
    assert.ok((await tabThrough(page, "settings")).includes("microphone"));
    await page.keyboard.press("Escape");
    await settings.waitFor({ state: "hidden" });
    assert.equal(await focused(page), "open-settings");
    if (locale === "en-US") {
      await hush(page);
      await page.locator("#call").click();
      await page.waitForFunction(() => window.eva.state === "connected");
      await open();
      await inEachLook(page, (look) => sound("settings in a call")(page, look), LOOKS.slice(0, 5));
      assert.ok((await tabThrough(page, "settings in a call")).includes("voice"));
      await page.keyboard.press("Escape");
      assert.equal(await page.evaluate(() => window.eva.state), "connected", "Escape closes the settings, not the call");
    }
    assert.deepEqual(page.trouble, []);
    await page.context().close();
    await untilFree(gateway.base, 2000);
  }
});

test("the figures and the transcript, open: the same, and Escape closes the menu", async () => {
  const page = await atRest({ viewport: { width: 390, height: 844 } });
  await hush(page);
  await call(page);
  await page.evaluate(() => window.eva.handle(JSON.stringify({ type: "eva.final", turn_id: 1, text: "What is the capital of France?" })));
  const button = page.locator("#open-insights");
  if ((await button.getAttribute("aria-expanded")) === "false") await button.click();
  await page.locator("#insights").waitFor();
  await inEachLook(page, (look) => sound("with the figures")(page, look));
  await page.locator("#transcript").focus();
  await page.keyboard.press("Enter");
  await page.locator("#transcript-kinds").waitFor();
  await inEachLook(page, (look) => axe(page, `the transcript's menu, ${look}`), LOOKS.slice(0, 5));
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement?.closest("#transcript-kinds") !== null), true, "the menu comes next");
  await page.keyboard.press("Escape");
  await page.locator("#transcript-kinds").waitFor({ state: "hidden" });
  assert.equal(await focused(page), "transcript");
  assert.deepEqual(page.trouble, []);
  await page.context().close();
  await untilFree(gateway.base, 2000);
});

test("the keyboard reaches everything that is visible, and its focus is always seen", async (t) => {
  for (const [look, viewport] of [["desktop", { width: 1280, height: 800 }], ["phone", { width: 390, height: 844 }]]) {
    const page = await atRest({ viewport });
    t.diagnostic(`${look}, at rest: ${(await tabThrough(page, `${look}, at rest`)).join(", ")}`);
    await call(page);
    const order = await tabThrough(page, `${look}, in a call`);
    t.diagnostic(`${look}, in a call: ${order.join(", ")}`);
    for (const id of ["mute", "call", "captions", "say"]) assert.ok(order.includes(id), `${id} is not among ${order}`);
    assert.deepEqual(page.trouble, []);
    await page.context().close();
    await untilFree(gateway.base, 2000);
  }
  const page = await atRest({}, "api");
  await page.locator(".group").first().waitFor();
  await tabThrough(page, "/api");
  await page.context().close();
});

test("text twice as large, and a window magnified four times, lose nothing", async () => {
  const page = await atRest();
  for (const state of ["at rest", "in a call"]) {
    if (state === "in a call") await call(page);
    await page.evaluate(() => (document.documentElement.style.fontSize = "200%"));
    await nothingLost(page, `${state}, text at 200 %`);
    await page.setViewportSize({ width: 640, height: 800 });
    await nothingLost(page, `${state}, text at 200 %, 640 px`);
    await page.evaluate(() => (document.documentElement.style.fontSize = ""));
    // 1280 × 1024 at 400 %: WCAG 1.4.10.
    await page.setViewportSize({ width: 320, height: 256 });
    await nothingLost(page, `${state}, magnified four times`);
    await page.setViewportSize({ width: 1280, height: 800 });
  }
  await page.context().close();
  await untilFree(gateway.base, 2000);
});

test("the page says which language it is in, also once another is chosen, and its title says what goes on", async () => {
  for (const [locale, language, rest] of [["en-GB", "en", /EVA-Voice/], ["fr-CA", "fr", /EVA-Voice/], ["de-DE", "en", /EVA-Voice/]]) {
    const page = await atRest({ locale });
    assert.equal(await page.locator("html").getAttribute("lang"), language);
    const before = await page.title();
    assert.match(before, rest);
    await page.locator("#call").click();
    await page.waitForFunction(() => window.eva.state === "connected");
    const title = await page.title();
    assert.notEqual(title, before);
    assert.match(title, language === "fr" ? /connecté|EVA|appel/i : /connected|call|listening/i);
    await page.locator("#call").click();
    await page.waitForFunction((title) => document.title === title, before);
    await page.context().close();
    await untilFree(gateway.base, 2000);
  }
  const page = await atRest();
  await page.locator("#open-settings").click();
  await page.locator("#page-language").selectOption("fr");
  await page.locator("html[lang=fr]").waitFor({ state: "attached" });
  await page.getByRole("button", { name: "Appeler" }).waitFor();
  await page.context().close();
});
