// The face and the waterfall by themselves: no gateway, the real files under the page's policy.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { launch, open, shoot } from "./browser.mjs";

const web = new URL("../../web/", import.meta.url);
const kinds = { html: "text/html; charset=utf-8", css: "text/css", js: "text/javascript" };

/** A module of the page that imports nothing, without a browser. */
async function load(name) {
  const source = await readFile(new URL(name, web));
  return import(`data:text/javascript;base64,${source.toString("base64")}`);
}

const { approach, blinkAt, heldShape, lipsPath, moveMouth, restingMouth, ATTITUDES, SHAPES } = await load("face.js");
const { percentile, place, scaleOf, PARTS } = await load("waterfall.js");
const { figureTexts } = await load("figures-texts.js");

/** The page for this test: both figures, by parameters of its address. */
const own = {
  "harness.html": `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
    <meta name="color-scheme" content="light dark"><title>Figures</title>
    <link rel="stylesheet" href="style.css"><link rel="stylesheet" href="figures.css"><link rel="stylesheet" href="harness.css">
    <main><h1 class="unseen">Figures</h1><div id="face"></div><section><h2 class="unseen">Times</h2><div id="figures"></div></section></main>
    <script type="module" src="harness.js"></script></html>`,
  "harness.css": `body { display: block; height: auto; } main { display: grid; grid-template-columns: 220px 400px; gap: 4rem; padding: 2rem; align-items: start; justify-content: center; }
    main > section { height: calc(100vh - 4rem); }
    @media (max-width: 60rem) { main { grid-template-columns: minmax(0, 1fr); gap: 1rem; padding: 1rem; } #face { width: 64px; } main > section { height: auto; } }`,
  "harness.js": `import { Face } from "./face.js"; import { Waterfall } from "./waterfall.js"; import { figureTexts } from "./figures-texts.js";
    const lang = document.documentElement.lang = new URLSearchParams(location.search).get("lang") ?? "en";
    Object.assign(window, { face: new Face(document.querySelector("#face")), waterfall: new Waterfall(document.querySelector("#figures"), figureTexts[lang]), clock: 1e6 });
    window.play = (visemes, { turn = "speaking", level = 0.6, ms = 16 } = {}) => visemes.map((viseme) => {
      face.frame({ viseme, turn, level, time: (window.clock += ms) });
      return face.now;
    });`,
};

let server, browser, base;
before(async () => {
  server = createServer(async (request, response) => {
    const name = new URL(request.url, "http://localhost").pathname.slice(1);
    const content = own[name] ?? (await readFile(new URL(name, web)).catch(() => null));
    response.writeHead(content === null ? 404 : 200, {
      "Content-Type": kinds[name.split(".").pop()] ?? "application/octet-stream",
      "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'",
    });
    response.end(content ?? "");
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  base = `http://127.0.0.1:${server.address().port}/harness.html`;
  browser = await launch();
});
after(async () => {
  await browser?.close();
  server?.close();
});

async function figures(context = {}, search = "") {
  const page = await open(browser, base + search, context);
  await page.waitForFunction(() => window.waterfall);
  return page;
}

async function done(page) {
  assert.deepEqual(page.trouble, []);
  await page.context().close();
}

/** A mouth that does one thing for so long. */
function mouthAfter(ms, mouth, viseme, level = 0.7) {
  for (let t = 0; t < ms; t += 10) mouth = moveMouth(mouth, viseme, level, 0.01);
  return mouth;
}

const latency = (turn_id, total_ms) => {
  const shares = { pause: 0.35, words: 0.08, committed: 0.01, first_token: 0.2, first_piece: 0.22, first_sound: 0.11, wire: 0.03 };
  return { turn_id, reply_id: turn_id, total_ms, parts_ms: Object.fromEntries(Object.entries(shares).map(([part, share]) => [part, share * total_ms])) };
};

test("a value is reached without shooting over, whatever the frame rate", () => {
  let fine = [0, 0];
  for (let i = 0; i < 10; i += 1) {
    fine = approach(...fine, 1, 55, 0.01);
    assert.ok(fine[0] > 0 && fine[0] < 1);
  }
  const coarse = approach(0, 0, 1, 55, 0.1);
  assert.ok(Math.abs(fine[0] - coarse[0]) < 1e-9 && Math.abs(fine[1] - coarse[1]) < 1e-9);
  assert.ok(approach(0, 0, 1, 55, 0.07)[0] > 0.88, "nine tenths within 70 ms");
});

test("the mouth has a shape for each of the 15 visemes, opens for vowels and closes for p, b and m", () => {
  assert.deepEqual(Object.keys(SHAPES), ["sil", "PP", "FF", "TH", "DD", "kk", "CH", "SS", "nn", "RR", "aa", "E", "ih", "oh", "ou"]);
  const open = mouthAfter(80, restingMouth(), "aa");
  assert.ok(open.shape.open > 0.8 * SHAPES.aa.open, `${open.shape.open} after 80 ms of aa`);
  const shut = mouthAfter(60, open, "PP");
  assert.ok(shut.shape.open < 2, `${shut.shape.open} after 60 ms of PP`);
  assert.ok(mouthAfter(100, open, "ou").shape.width < 0.6 * open.shape.width, "ou is narrow");
  assert.ok(mouthAfter(400, open, "sil").shape.open < 0.1);
  assert.ok(mouthAfter(400, open, "no such viseme").shape.open < 0.1);
});

test("sounds of the tongue leave the lips as the vowel had them, and loud sounds open more", () => {
  const round = mouthAfter(200, restingMouth(), "ou").shape.width;
  const passing = mouthAfter(60, mouthAfter(200, restingMouth(), "ou"), "nn").shape.width;
  const full = mouthAfter(60, mouthAfter(200, restingMouth(), "ou"), "ih").shape.width;
  assert.ok(passing - round < 0.6 * (full - round), `${round} → ${passing}, not ${full}`);
  assert.ok(mouthAfter(200, restingMouth(), "aa", 1).shape.open > 1.3 * mouthAfter(200, restingMouth(), "aa", 0.1).shape.open);
  for (const level of [NaN, -1, 9]) assert.ok(Number.isFinite(mouthAfter(200, restingMouth(), "aa", level).shape.open));
});

test("lips, lids and held shapes are what they should be at their ends", () => {
  for (const shape of Object.values(SHAPES)) assert.doesNotMatch(lipsPath(shape), /NaN|undefined/);
  assert.equal(blinkAt(-1), 0);
  assert.equal(blinkAt(10), 0);
  assert.ok(blinkAt(0.075) > 0.99);
  const shown = new Set(Object.keys(SHAPES).map((viseme) => heldShape(viseme, "sil", 1)));
  assert.deepEqual([...shown], ["sil", "ih", "aa"]);
  assert.equal(heldShape("aa", "sil", 0.1), "sil", "held");
  assert.deepEqual(Object.keys(ATTITUDES), ["away", "none", "listening", "hearing", "thinking", "speaking"]);
});

test("percentiles are by nearest rank", () => {
  assert.equal(percentile([], 0.5), null);
  assert.equal(percentile([7], 0.95), 7);
  assert.equal(percentile([4, 1, 3, 2], 0.5), 2);
  assert.equal(percentile([5, 1, 4, 2, 3], 0.5), 3);
  assert.equal(percentile([5, 1, 4, 2, 3], 0.95), 5);
  assert.equal(percentile(Array.from({ length: 100 }, (_, i) => 100 - i), 0.95), 95);
});

test("the scale holds the times in few even steps, and single outliers do not stretch it", () => {
  assert.deepEqual(scaleOf([]), { step: 100, top: 200 });
  assert.deepEqual(scaleOf([541]), { step: 200, top: 600 });
  assert.deepEqual(scaleOf([500, 600, 900]), { step: 500, top: 1000 });
  assert.equal(scaleOf([500, 20_000]).top, 20_000);
  assert.ok(scaleOf([500, 510, 490, 530, 30_000]).top <= 2000);
  assert.equal(scaleOf([...Array(19).fill(600), 5000]).top, 800);
  for (const slowest of [1, 399, 401, 4100, 90_000, 300_000]) {
    const { top, step } = scaleOf([slowest]);
    assert.ok(top >= slowest && top / step >= 2 && top / step <= 5, `${slowest}: ${top} by ${step}`);
  }
  const scale = { top: 1000, step: 500 };
  const [first, second] = [place(0, 2, 0, scale, 400), place(1, 2, 500, scale, 400)];
  assert.ok(first.x < second.x && second.x < 120 && first.y > second.y && !second.beyond, "few points begin at the left");
  assert.deepEqual([place(0, 200, 5000, scale, 400).y, place(0, 200, 5000, scale, 400).beyond], [place(0, 200, 1000, scale, 400).y, true]);
  assert.ok(place(199, 200, 1, scale, 400).x < 400);
});

test("both languages have every text", () => {
  const shape = (value) => (typeof value === "object" ? Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, shape(inner)])) : typeof value);
  assert.deepEqual(shape(figureTexts.fr), shape(figureTexts.en));
  for (const { parts, partTitles } of Object.values(figureTexts)) assert.deepEqual([Object.keys(parts), Object.keys(partTitles)], [[...PARTS], [...PARTS]]);
});

test("the face speaks, hears, thinks and rests", async () => {
  const page = await figures();
  const seen = await page.evaluate(() => {
    const lips = () => document.querySelector(".face [data-part=lips]").getBBox();
    const eye = () => document.querySelector(".face .face-eye").getBBox();
    const steady = (viseme, turn) => {
      window.play(Array(40).fill(viseme), { turn });
      return { open: lips().height, width: lips().width, eye: eye().height, ...window.face.now.look };
    };
    const away = { eye: eye().height };
    // Blinks come when they come: the tallest of a second counts.
    const awake = Math.max(...Array.from({ length: 60 }, () => (window.play(["sil"], { turn: "listening" }), eye().height)));
    return { away, awake, aa: steady("aa", "speaking"), PP: steady("PP", "speaking"), ou: steady("ou", "speaking"),
      hearing: steady("sil", "hearing"), thinking: steady("sil", "thinking"), hidden: document.querySelector(".face").ariaHidden ?? document.querySelector(".face").getAttribute("aria-hidden") };
  });
  assert.ok(seen.aa.open > 12 && seen.PP.open < 2, `${seen.aa.open} open, ${seen.PP.open} closed`);
  assert.ok(seen.ou.width < 0.6 * seen.aa.width);
  assert.ok(seen.away.eye < 0.6 * seen.awake, "eyes closed while away");
  assert.ok(seen.thinking.x > 2 && seen.thinking.y < -1.5, "looks aside");
  assert.ok(seen.hearing.lean > 0.8, "attends");
  assert.equal(seen.hidden, "true");
  await page.evaluate(() => window.face.rest());
  await page.waitForFunction(() => window.face.now.look.lid > 0.95 && window.face.now.mouth.open < 0.1);
  await done(page);
});

test("eyes blink irregularly, a frame is cheap, and what is off does nothing", async () => {
  const page = await figures();
  const seen = await page.evaluate(() => {
    const blinks = [];
    let shut = false;
    for (let t = 0; t < 120; t += 0.02) {
      window.play(["sil"], { turn: "listening", ms: 20 });
      const low = document.querySelector(".face .face-eye").getBBox().height < 4.5;
      if (t > 1 && low && !shut) blinks.push(t);
      shut = low;
    }
    const visemes = Object.keys({ sil: 0, PP: 0, aa: 0, E: 0, ou: 0, nn: 0 });
    const began = performance.now();
    window.play(Array.from({ length: 3000 }, (_, i) => visemes[Math.floor(i / 4) % visemes.length]));
    const cost = (performance.now() - began) / 3000;
    window.face.on = false;
    const before = document.querySelector(".face").outerHTML;
    window.play(Array(30).fill("aa"));
    const still = before === document.querySelector(".face").outerHTML && getComputedStyle(document.querySelector(".face")).display === "none";
    window.face.on = true;
    return { blinks, cost, still, back: getComputedStyle(document.querySelector(".face")).display };
  });
  const gaps = seen.blinks.slice(1).map((at, i) => at - seen.blinks[i]);
  assert.ok(seen.blinks.length > 15 && seen.blinks.length < 60, `${seen.blinks.length} blinks in two minutes`);
  assert.ok(Math.max(...gaps) - Math.min(...gaps) > 1, "irregular");
  assert.ok(seen.cost < 0.3, `${seen.cost} ms a frame`);
  assert.deepEqual([seen.still, seen.back], [true, "block"]);
  await done(page);
});

test("with reduced motion nothing blinks or sways, and the mouth has three held shapes", async () => {
  const page = await figures({ reducedMotion: "reduce" });
  const seen = await page.evaluate(() => {
    const mouths = [];
    const heads = new Set();
    const eyes = new Set();
    const visemes = ["PP", "aa", "nn", "E", "SS", "oh", "ou", "DD", "sil"];
    for (let i = 0; i < 3000; i += 1) {
      window.play([visemes[Math.floor(i / 5) % visemes.length]]);
      mouths.push(document.querySelector(".face [data-part=lips]").getAttribute("d"));
      heads.add(document.querySelector(".face-lines").getAttribute("transform"));
      eyes.add(document.querySelector(".face-eye").outerHTML);
    }
    const changes = mouths.filter((mouth, i) => i && mouth !== mouths[i - 1]).length;
    return { shapes: new Set(mouths).size, perSecond: changes / 48, heads: heads.size, eyes: eyes.size };
  });
  assert.ok(seen.shapes <= 3 && seen.perSecond <= 3.4, JSON.stringify(seen));
  assert.deepEqual([seen.heads, seen.eyes], [1, 1]);
  await done(page);
});

test("the waterfall shows what is known, and a dash for what is not", async () => {
  const page = await figures();
  const network = page.locator(".figures-network dd");
  assert.deepEqual(await network.allInnerTexts(), Array(6).fill("–"));
  assert.equal(await page.locator(".figures-total").isVisible(), false);
  await page.evaluate((turn) => window.waterfall.turn(turn), latency(1, 541));
  assert.match(await page.locator(".figures-total").innerText(), /^541 ms\s+from your last sound to EVA’s first$/);
  assert.deepEqual(await page.locator(".figures-parts dd").allInnerTexts(), ["189", "43", "5", "108", "119", "60", "16"]);
  const numbers = page.locator(".figures-numbers dd");
  assert.deepEqual(await numbers.allInnerTexts(), ["541 ms", "–", "1"]);
  await page.evaluate((turns) => turns.forEach((turn) => window.waterfall.turn(turn)), [600, 450, 2900, 520].map((ms, i) => latency(i + 2, ms)));
  assert.deepEqual(await numbers.allInnerTexts(), ["541 ms", "2,900 ms", "5"]);
  assert.deepEqual(await page.locator(".figures-turns li .unseen").first().innerText(), "Turn 5: 520 ms, pause 182 ms, words 42 ms, decision 5 ms, first token 104 ms, first phrase 114 ms, first sound 57 ms, wire 16 ms");
  assert.equal(await page.locator(".figures-plot .point").count(), 5);
  assert.equal(await page.locator(".figures-plot .point.beyond").count(), 1);
  assert.equal(await page.locator(".figures-turns li.beyond").count(), 1);
  await page.evaluate(() => window.waterfall.turn({ turn_id: 6, total_ms: 300, parts_ms: { pause: 200, wire: null, strange: 5 } }));
  assert.deepEqual(await page.locator(".figures-parts dd").allInnerTexts(), ["200", "–", "–", "–", "–", "–", "–"]);
  for (const total_ms of [NaN, undefined, null, -5]) await page.evaluate((turn) => window.waterfall.turn(turn), { total_ms });
  assert.equal(await page.locator(".figures-turns li").count(), 6);

  await page.evaluate(() => window.waterfall.network({ packetsReceived: 0, packetsLost: 0, lossPercent: 0, jitterMs: 0, roundTripMs: null, codec: "", transport: "tcp", concealedPercent: 0 }));
  assert.deepEqual(await network.allInnerTexts(), ["–", "–", "–", "–", "–", "TCP"]);
  await page.evaluate(() => window.waterfall.network({ packetsReceived: 50, lossPercent: 0, jitterMs: 3.62, roundTripMs: 23.4, codec: "Opus 48 kHz", transport: "udp", concealedPercent: 1.25 }));
  assert.deepEqual(await network.allInnerTexts(), ["0 %", "3.6 ms", "23 ms", "1.3 %", "Opus 48 kHz", "UDP"]);
  await page.evaluate(() => window.waterfall.clear());
  assert.deepEqual(await network.allInnerTexts(), Array(6).fill("–"));
  assert.equal(await page.locator(".figures-turns li").count(), 0);
  await done(page);
});

test("earlier turns are shown from the keyboard and by pointing", async () => {
  const page = await figures();
  await page.evaluate((turns) => turns.forEach((turn) => window.waterfall.turn(turn)), [500, 600, 700].map((ms, i) => latency(i + 1, ms)));
  const title = page.locator(".figures-newest h3");
  const plot = page.getByRole("slider", { name: "Turn shown" });
  assert.equal(await title.innerText(), "Last answer");
  await plot.focus();
  await page.keyboard.press("ArrowLeft");
  assert.equal(await title.innerText(), "Turn 2");
  assert.match(await plot.getAttribute("aria-valuetext"), /^Turn 2: 600 ms, pause 210 ms/);
  await page.keyboard.press("Home");
  await page.keyboard.press("ArrowLeft");
  assert.deepEqual([await plot.getAttribute("aria-valuenow"), await page.locator(".figures-total strong").innerText()], ["1", "500"]);
  await page.keyboard.press("End");
  assert.equal(await title.innerText(), "Last answer");
  await page.locator(".figures-turns li").last().hover();
  assert.equal(await title.innerText(), "Turn 1");
  const box = await plot.boundingBox();
  await page.mouse.move(box.x + 40 + ((box.width - 48) / 12) * 1.5, box.y + 50);
  assert.equal(await title.innerText(), "Turn 2");
  await shoot(page, "figures-pointed-desktop-light");
  await page.mouse.move(5, 5);
  assert.equal(await title.innerText(), "Last answer");
  await done(page);
});

test("two hundred turns are kept, counted beyond, and given as CSV", async () => {
  const page = await figures();
  const csv = await page.evaluate((turns) => {
    turns.forEach((turn) => window.waterfall.turn(turn));
    window.waterfall.turn({ turn_id: 'a,"b"', total_ms: 400.5, parts_ms: { pause: 1 } });
    return window.waterfall.toCsv();
  }, Array.from({ length: 210 }, (_, i) => latency(i + 1, 500 + (i % 7) * 20)));
  assert.equal(await page.locator(".figures-turns li").count(), 200);
  assert.equal(await page.locator(".figures-plot .point").count(), 200);
  assert.equal(await page.locator(".figures-count dd").innerText(), "211");
  const lines = csv.split("\r\n");
  assert.equal(lines.length, 202);
  assert.equal(lines[0], "turn,at,turn_id,reply_id,total_ms,pause_ms,words_ms,committed_ms,first_token_ms,first_piece_ms,first_sound_ms,wire_ms");
  assert.match(lines[200], /^211,\d{4}-\d\d-\d\dT[\d:.]+Z,"a,""b""",,400\.5,1,,,,,,$/);
  await done(page);
});

test("both look right at each size, light, dark and with forced colours", async () => {
  const totals = [612, 548, 587, 523, 690, 541, 2870, 566, 602, 498, 631, 541];
  for (const [size, viewport, search] of [["desktop", { width: 1280, height: 860 }, ""], ["phone", { width: 390, height: 844 }, "?lang=fr"], ["small", { width: 320, height: 568 }, ""]]) {
    for (const look of [{ colorScheme: "light" }, { colorScheme: "dark" }, { forcedColors: "active" }]) {
      const page = await figures({ viewport, ...look }, search);
      await page.evaluate((turns) => {
        turns.forEach((turn) => window.waterfall.turn(turn));
        window.waterfall.network({ packetsReceived: 950, lossPercent: 0.2, jitterMs: 3.6, roundTripMs: 23.4, codec: "Opus 48 kHz", transport: "udp", concealedPercent: 0 });
        window.play(Array(40).fill("E"));
      }, totals.map((ms, i) => latency(i + 1, ms)));
      await page.waitForTimeout(100);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wide <= 0, `${size}: ${wide} px too wide`);
      await shoot(page, `figures-${size}-${look.colorScheme ?? "forced"}`);
      await done(page);
    }
  }
});
