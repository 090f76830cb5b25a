// What a page owes to everyone, checked from outside: axe's rules, nothing cut off, a focus that is seen.

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa", "best-practice"];

/** Waits for transitions and finite animations: a colour on its way to another has no contrast to speak of. */
const settled = (page) => page.evaluate(() => Promise.all(document.getAnimations()
  .filter((animation) => animation.effect?.getComputedTiming().endTime !== Infinity)
  .map((animation) => animation.finished.catch(() => {}))));

/**
 * Fails with the list of what axe objects to.
 * @param {import("playwright-core").Page} page @param {string} state  for the message: what the page shows
 */
export async function axe(page, state) {
  await settled(page);
  if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(AXE);
  const { violations, passes } = await page.evaluate((values) => window.axe.run(document, {
    runOnly: { type: "tag", values }, resultTypes: ["violations"],
    // Forced colours are the person's own, and axe reads others than those that are painted then.
    rules: { "color-contrast": { enabled: !matchMedia("(forced-colors: active)").matches } },
  }), RULES);
  if (!passes.length) throw new Error(`${state}: axe has looked at nothing`);
  const list = violations.flatMap(({ id, help, nodes }) => nodes.map((node) =>
    `${id}: ${help}\n    ${node.target.join(" ")}  ${node.html.slice(0, 160)}\n    ${node.failureSummary.replace(/\s+/g, " ")}`));
  if (list.length) throw new Error(`${state}: axe objects to ${list.length} thing(s):\n  ${list.join("\n  ")}`);
}

/**
 * Fails if something is lost: cut off where nobody can scroll to it, or wider than the window.
 * @param {import("playwright-core").Page} page @param {string} state
 */
export async function nothingLost(page, state) {
  await settled(page);
  const lost = await page.evaluate(() => {
    const found = [];
    const shown = document.querySelector("dialog:modal") ?? document.body; // what is behind a dialog waits
    const name = (node) => `${node.localName}${node.id ? `#${node.id}` : ""} "${(node.textContent || node.value || "").trim().replace(/\s+/g, " ").slice(0, 40)}"`;
    const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
    if (wide > 0) found.push(`the page is ${wide} px wider than the window`);
    const own = (node) => [...node.childNodes].some((child) => child.nodeType === Node.TEXT_NODE && child.data.trim());
    for (const node of shown.querySelectorAll("*")) {
      if (node.closest(".unseen, [aria-hidden=true], svg") || !node.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue;
      if (!own(node) && !node.matches("button, input, select, textarea, canvas")) continue;
      const box = node.getBoundingClientRect();
      if (box.width < 1 || box.height < 1) continue;
      for (let frame = node.parentElement; frame && frame !== document.body; frame = frame.parentElement) {
        const style = getComputedStyle(frame);
        const edge = frame.getBoundingClientRect();
        const cutsX = /hidden|clip/.test(style.overflowX) && (box.right > edge.right + 1 || box.left < edge.left - 1);
        const cutsY = /hidden|clip/.test(style.overflowY) && (box.bottom > edge.bottom + 1 || box.top < edge.top - 1);
        if (cutsX || cutsY) found.push(`${name(node)} is cut off by ${frame.localName}${frame.id ? `#${frame.id}` : `.${frame.className}`}`);
        if (/auto|scroll/.test(style.overflow)) {
          // One can scroll there, if there is a place to look through.
          const room = Math.min(box.height, 2.5 * Number.parseFloat(getComputedStyle(document.documentElement).fontSize));
          if (frame.clientHeight < room) found.push(`${name(node)} is in ${frame.localName}#${frame.id}, ${frame.clientHeight} px high`);
          break;
        }
      }
      if (node.matches("button, a, summary, label") && node.scrollWidth > node.clientWidth + 1 && getComputedStyle(node).overflowX !== "visible") {
        found.push(`${name(node)} is narrower than its text`);
      }
    }
    // Beyond the top or the left edge nobody can scroll.
    for (const node of shown.querySelectorAll("button, input, select, textarea, a[href], summary")) {
      if (node.closest(".unseen, .skip") || !node.checkVisibility({ visibilityProperty: true })) continue;
      node.scrollIntoView({ block: "nearest" });
      const box = node.getBoundingClientRect();
      const above = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
      const label = above?.closest("label");
      if (!above || !(node.contains(above) || above.contains(node) && above !== document.body || label?.control === node)) {
        found.push(`${name(node)} is covered by ${above ? name(above) : "the window's edge"}`);
      }
    }
    return found;
  });
  if (lost.length) throw new Error(`${state}:\n  ${lost.join("\n  ")}`);
}

/**
 * Walks through a page with the Tab key. Returns the names of what had the focus, in order.
 * Fails if something visible is not reached, or if the focus cannot be seen.
 * @param {import("playwright-core").Page} page @param {string} state
 */
export async function tabThrough(page, state) {
  await page.evaluate(() => {
    document.querySelectorAll("[data-reached]").forEach((node) => delete node.dataset.reached);
    // Tab goes on from where the focus was last, even if that is no more there: here, from the top.
    const top = Object.assign(document.createElement("span"), { tabIndex: -1 });
    (document.querySelector("dialog:modal") ?? document.body).prepend(top);
    top.focus();
    top.remove();
  });
  const order = [];
  for (;;) {
    await page.keyboard.press("Tab");
    await settled(page);
    const stop = await page.evaluate(() => {
      const node = document.activeElement;
      if (!node || node === document.body || node.dataset.reached) return null;
      node.dataset.reached = "yes";
      const style = getComputedStyle(node);
      const box = node.getBoundingClientRect();
      const middle = document.elementFromPoint(
        Math.min(Math.max(box.left + box.width / 2, 1), innerWidth - 1), Math.min(Math.max(box.top + box.height / 2, 1), innerHeight - 1));
      return {
        name: node.getAttribute("aria-label") ?? (node.labels?.[0] ?? node).textContent.trim().replace(/\s+/g, " ").slice(0, 40),
        id: node.id,
        ring: style.outlineStyle !== "none" && Number.parseFloat(style.outlineWidth) >= 2,
        inView: box.width > 0 && box.right > 0 && box.left < innerWidth && box.bottom > 0 && box.top < innerHeight
          && Boolean(middle) && (node.contains(middle) || middle.contains(node) || middle.closest("label")?.control === node),
      };
    });
    if (!stop) break;
    order.push(stop);
    if (order.length > 200) throw new Error(`${state}: the Tab key does not come to an end`);
  }
  const missed = await page.evaluate(() => {
    const stops = "a[href], button, input, select, textarea, summary, audio[controls], [tabindex]:not([tabindex='-1'])";
    // Behind a modal dialog there is nothing to reach.
    return [...(document.querySelector("dialog:modal") ?? document).querySelectorAll(stops)].filter((node) => {
      if (node.dataset.reached || node.disabled || node.closest("[inert]") || !node.checkVisibility({ visibilityProperty: true })) return false;
      // Of a group of radio buttons, the keyboard reaches one by Tab and the others by arrows.
      if (node.type === "radio") return ![...document.getElementsByName(node.name)].some((other) => other.dataset.reached);
      return true;
    }).map((node) => `${node.localName}#${node.id} ${node.textContent.trim().slice(0, 40)}`);
  });
  const faults = [
    ...missed.map((name) => `Tab does not reach ${name}`),
    ...order.filter(({ ring }) => !ring).map(({ name, id }) => `the focus on ${id || name} has no outline`),
    ...order.filter(({ inView }) => !inView).map(({ name, id }) => `the focus on ${id || name} is out of sight`),
  ];
  if (faults.length) throw new Error(`${state}:\n  ${faults.join("\n  ")}`);
  return order.map(({ name, id }) => id || name);
}

/** Each with what to emulate, for pages that are open already. */
export const LOOKS = [
  ["desktop, light", { width: 1280, height: 800 }, {}],
  ["desktop, dark", { width: 1280, height: 800 }, { colorScheme: "dark" }],
  ["phone, light", { width: 390, height: 844 }, {}],
  ["phone, dark", { width: 390, height: 844 }, { colorScheme: "dark" }],
  ["320 px", { width: 320, height: 568 }, {}],
  ["forced colours", { width: 1280, height: 800 }, { forcedColors: "active", colorScheme: "dark" }],
  ["reduced motion", { width: 1280, height: 800 }, { reducedMotion: "reduce" }],
];

/** Does something with the page in each of its looks. */
export async function inEachLook(page, then, looks = LOOKS) {
  for (const [name, viewport, media] of looks) {
    await page.setViewportSize(viewport);
    await page.emulateMedia({ colorScheme: "light", forcedColors: "none", reducedMotion: "no-preference", ...media });
    await then(name);
  }
  await page.setViewportSize({ width: 1280, height: 800 });
  await page.emulateMedia({ colorScheme: "light", forcedColors: "none", reducedMotion: "no-preference" });
}
