/**
 * EVA's face: a few lines over a patch of colour. In: once a frame, the mouth's shape that sounds now, how loud, and
 * what the conversation is doing. Out: an SVG drawing. It keeps its own time for blinking and glances, and knows no
 * call, no network and no words. For screen readers it is not there: the page says in words what it shows.
 *
 *     const face = new Face(document.querySelector("#face"));
 *     face.frame({ viseme: call.mouth(), level: call.levels().eva, turn: "speaking" });
 *     face.rest(); // the call is over: the eyes close
 *
 * With reduced motion wanted, nothing blinks, drifts or sways; the mouth is closed, half open or open, and each of
 * these is held.
 */

/**
 * @typedef {object} MouthShape  in units of the drawing, which is 120 wide
 * @property {number} width   from the middle to a corner
 * @property {number} open    from lip to lip
 * @property {number} round   0: corners as on a lens, 1: an ellipse
 * @property {number} teeth   how much of the upper teeth shows, 0 to 1
 * @property {number} tongue  likewise
 * @property {number} press   lips drawn in, 0 to 1
 *
 * @typedef {{shape: MouthShape, speed: MouthShape}} Mouth  where the mouth is, and how it moves in units a second
 *
 * @typedef {"away" | "none" | "listening" | "hearing" | "thinking" | "speaking"} Turn
 *   `away`: not on a call; `none`: on one, its state not known yet
 *
 * @typedef {object} Attitude
 * @property {number} x      where the eyes look, in units from straight ahead
 * @property {number} y
 * @property {number} brow   how far the brows are raised, in units
 * @property {number} lid    0: open, 1: closed
 * @property {number} tilt   of the head, in degrees
 * @property {number} lean   towards the person, 0 to 1
 * @property {number} tint   how strong the colour behind the lines is, 0 to 1
 */

/** @param {Partial<MouthShape>} shape @returns {MouthShape} */
const mouth = (shape) => ({ width: 17.5, open: 0, round: 0.15, teeth: 0, tongue: 0, press: 0, ...shape });

/** The 15 shapes of OVR lip sync, as this face draws them. @type {Readonly<Record<string, MouthShape>>} */
export const SHAPES = Object.freeze({
  sil: mouth({}),
  PP: mouth({ width: 15, press: 1 }),
  FF: mouth({ width: 16.5, open: 4, teeth: 1, press: 0.6 }),
  TH: mouth({ width: 17, open: 5, round: 0.3, teeth: 0.5, tongue: 0.9 }),
  DD: mouth({ width: 17, open: 4.6, round: 0.25, teeth: 0.8 }),
  kk: mouth({ width: 17, open: 6, round: 0.3 }),
  CH: mouth({ width: 12.5, open: 6.6, round: 0.65, teeth: 0.9 }),
  SS: mouth({ width: 18, open: 3.8, round: 0.2, teeth: 1 }),
  nn: mouth({ width: 17, open: 4.6, round: 0.25, tongue: 0.5 }),
  RR: mouth({ width: 13.5, open: 6, round: 0.55, tongue: 0.2 }),
  aa: mouth({ width: 17, open: 18, round: 0.6, tongue: 0.7 }),
  E: mouth({ width: 19, open: 11, round: 0.4, teeth: 0.5, tongue: 0.5 }),
  ih: mouth({ width: 19.5, open: 7, round: 0.3, teeth: 0.7, tongue: 0.3 }),
  oh: mouth({ width: 11, open: 15, round: 1, tongue: 0.3 }),
  ou: mouth({ width: 7.5, open: 8.5, round: 1 }),
});

/** What the tongue makes leaves the lips much as the neighbours have them: the share of their shape it takes. */
const LIPS_FOLLOW = 0.4;
const MADE_BY_TONGUE = new Set(["TH", "DD", "kk", "nn"]);

/** How fast shapes are reached, in 1/s: nine tenths of the way after 3.9 of these, so 70 ms between sounds. */
const GLIDE = 55;
/** Lips that close a sound have to be seen to meet. */
const CLOSE = 85;
/** The way back to rest is slower. */
const SETTLE = 26;
/** Eyes, brows and head. */
const TURN = 9;
const GLANCE = 24;
/** Longer steps than this are taken as this: a tab that comes back does not jump. */
const MAX_STEP_S = 0.1;

/**
 * One step towards a value, critically damped: it never shoots over and does not depend on the frame rate.
 * @param {number} at @param {number} speed @param {number} to @param {number} rate  in 1/s @param {number} seconds
 * @returns {[number, number]} the new place and speed
 */
export function approach(at, speed, to, rate, seconds) {
  const away = at - to;
  const pull = (speed + rate * away) * seconds;
  const fade = Math.exp(-rate * seconds);
  return [to + (away + pull) * fade, (speed - rate * pull) * fade];
}

/** A mouth at rest. @returns {Mouth} */
export function restingMouth() {
  return { shape: { ...SHAPES.sil }, speed: mouth({ width: 0, round: 0 }) };
}

/**
 * The mouth a moment later.
 * @param {Mouth} now
 * @param {string} viseme   what sounds; an unknown one is silence
 * @param {number} level    loudness, 0 to 1
 * @param {number} seconds  since `now`
 * @returns {Mouth}
 */
export function moveMouth(now, viseme, level, seconds) {
  const target = SHAPES[viseme] ?? SHAPES.sil;
  const rate = target === SHAPES.sil ? SETTLE : target.press > 0 ? CLOSE : GLIDE;
  const follow = MADE_BY_TONGUE.has(viseme) ? LIPS_FOLLOW : 1;
  const shape = { ...now.shape };
  const speed = { ...now.speed };
  for (const name of /** @type {(keyof MouthShape)[]} */ (Object.keys(shape))) {
    let to = target[name];
    if (name === "open") to *= 0.72 + 0.4 * clamp(level);
    if (name === "width" || name === "round") to = shape[name] + (to - shape[name]) * follow;
    [shape[name], speed[name]] = approach(shape[name], speed[name], to, rate, Math.min(seconds, MAX_STEP_S));
  }
  return { shape, speed };
}

/** Openings of the three shapes that are held where motion is to be reduced, and the visemes that show them. */
const HELD = /** @type {const} */ (["sil", "ih", "aa"]);
/** How long each is held at least. */
const HOLD_S = 0.3;

/**
 * The mouth where motion is to be reduced: one of three shapes.
 * @param {string} viseme @param {string} before  the shape shown @param {number} seconds  for how long
 * @returns {string} a key of {@link SHAPES}
 */
export function heldShape(viseme, before, seconds) {
  const { open } = SHAPES[viseme] ?? SHAPES.sil;
  const wanted = HELD[open < 2 ? 0 : open < 9 ? 1 : 2];
  return seconds < HOLD_S ? before : wanted;
}

/** What the face does in each state. @type {Readonly<Record<Turn, Attitude>>} */
export const ATTITUDES = Object.freeze({
  away: { x: 0, y: 1.2, brow: -0.6, lid: 1, tilt: 0, lean: 0, tint: 0.45 },
  none: { x: 0, y: 0, brow: 0, lid: 0, tilt: 0, lean: 0, tint: 0.7 },
  listening: { x: 0, y: 0, brow: 0, lid: 0, tilt: 0, lean: 0.3, tint: 0.8 },
  hearing: { x: 0, y: 1, brow: 1.8, lid: -0.12, tilt: -2.5, lean: 1, tint: 1 },
  thinking: { x: 4.2, y: -3, brow: 0.8, lid: 0.22, tilt: 1.5, lean: 0, tint: 0.8 },
  speaking: { x: 0, y: 0, brow: 0.4, lid: 0, tilt: 0, lean: 0.4, tint: 1 },
});

const BLINK_CLOSE_S = 0.075;
const BLINK_OPEN_S = 0.15;

/** How far a blink has closed the eyes. @param {number} seconds  since it began @returns {number} 0 to 1 */
export function blinkAt(seconds) {
  if (seconds < 0 || seconds > BLINK_CLOSE_S + BLINK_OPEN_S) return 0;
  const share = seconds < BLINK_CLOSE_S ? seconds / BLINK_CLOSE_S : 1 - (seconds - BLINK_CLOSE_S) / BLINK_OPEN_S;
  return share * share * (3 - 2 * share);
}

/** @param {number} value */
const clamp = (value) => Math.min(Math.max(value || 0, 0), 1);
/** @param {number} value */
const f = (value) => Math.round(value * 100) / 100;

/** The lips: the line of the mouth when closed, its outline when open. @param {MouthShape} shape */
export function lipsPath(shape) {
  const { width: w } = shape;
  const { corner, up, down, bow } = lips(shape);
  // From a lens, whose corners are pointed, to an ellipse.
  const out = 0.7 + 0.3 * shape.round;
  const rise = 0.3 + 0.26 * shape.round;
  const upper = corner + (up - corner) * rise;
  const lower = corner + (down - corner) * (rise + 0.04);
  return `M${f(-w)} ${f(corner)}`
    + `C${f(-w * out)} ${f(upper)} ${f(-w * 0.54)} ${f(up - bow)} ${f(-w * 0.22)} ${f(up - bow)}`
    + `Q${f(-w * 0.08)} ${f(up - bow)} 0 ${f(up)}Q${f(w * 0.08)} ${f(up - bow)} ${f(w * 0.22)} ${f(up - bow)}`
    + `C${f(w * 0.54)} ${f(up - bow)} ${f(w * out)} ${f(upper)} ${f(w)} ${f(corner)}`
    + `C${f(w * out)} ${f(lower)} ${f(w * 0.52)} ${f(down)} 0 ${f(down)}`
    + `C${f(-w * 0.52)} ${f(down)} ${f(-w * out)} ${f(lower)} ${f(-w)} ${f(corner)}z`;
}

/** Where the lips are. @param {MouthShape} shape */
function lips({ open, round, press }) {
  const small = clamp(1 - open / 6);
  return {
    corner: -(1.3 + 1.3 * small) * (1 - 0.5 * round) * (1 - 0.75 * press) + open * 0.2 * round,
    up: -open * 0.26,
    down: open * 0.74,
    bow: (0.4 + 0.9 * (1 - small)) * (1 - 0.75 * round) * (1 - press),
  };
}

/** @param {MouthShape} shape  the stroke that tells the lower lip's fullness */
function chinPath(shape) {
  const y = lips(shape).down + 5.6 - 1.4 * shape.press;
  const w = 3.2 + shape.width * 0.12;
  return `M${f(-w)} ${f(y)}Q0 ${f(y + 1.8)} ${f(w)} ${f(y)}`;
}

/** @param {MouthShape} shape  the edge of the upper teeth, drawn within the lips */
function teethPath(shape) {
  const { up } = lips(shape);
  const y = up + Math.min(shape.open * 0.42, 3.6) * shape.teeth;
  return `M-20 ${f(up - 8)}H20V${f(y)}H-20z`;
}

/** An open eye is a tall drop of ink, a closed one a line that hangs down. @param {number} lid @param {number} size */
function eyePath(lid, size) {
  const closed = clamp(lid);
  const w = 2.3 + 4 * closed * closed;
  const h = (size * (1 - lid) * 4) / 3;
  const hang = 3.4 * closed;
  const side = w * (0.9 - 0.35 * closed);
  return `M${f(-w)} 0C${f(-side)} ${f(hang - h)} ${f(side)} ${f(hang - h)} ${f(w)} 0`
    + `C${f(side)} ${f(hang + h)} ${f(-side)} ${f(hang + h)} ${f(-w)} 0z`;
}

/** One stroke: the left brow that runs on into the nose. @param {number} brow  raised by */
function browAndNose(brow) {
  return `M19 ${f(45 - brow * 0.6)}C26 ${f(33.5 - brow)} 41 ${f(31 - brow)} 49 ${f(38.5 - brow * 0.7)}`
    + `C57.500 ${f(46 - brow * 0.3)} 56.500 58 53.200 65.500C51.800 68.800 50.300 71 50.600 72.700C51.200 76 59.500 77.400 63.400 73.400`;
}

/** @param {number} brow */
function rightBrow(brow) {
  return `M72 ${f(38.5 - brow * 0.8)}C79 ${f(31.5 - brow)} 93 ${f(33 - brow)} 101 ${f(44.5 - brow * 0.6)}`;
}

const SVG = "http://www.w3.org/2000/svg";
const EYES = [[36.5, 53], [84.5, 53]];
const MOUTH = [60.5, 89];

/** @param {Element} parent @param {string} tag @param {Record<string, string | number>} [attributes] */
function add(parent, tag, attributes = {}) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  parent.append(node);
  return node;
}

let faces = 0;

export class Face {
  /** @type {SVGSVGElement} */ #svg;
  #calm = matchMedia("(prefers-reduced-motion: reduce)");
  /** What is drawn, and the attributes it has: nothing is set twice. @type {Map<Element, Record<string, string>>} */
  #drawn = new Map();
  #on = true;
  #mouth = restingMouth();
  #held = { viseme: "sil", since: -1 };
  #look = { ...ATTITUDES.away };
  #lookSpeed = { x: 0, y: 0, brow: 0, lid: 0, tilt: 0, lean: 0, tint: 0 };
  /** Of whoever speaks, smoothed. */
  #level = 0;
  /** @type {Turn} */ #turn = "away";
  #last = 0;
  #blink = { at: 0, again: false };
  #glance = { x: 0, y: 0, until: 0 };
  #resting = 0;
  /** The nodes that move. */
  #parts;

  /**
   * @param {Element} container  an `<svg>`, or an element that gets one
   * @param {{calm?: boolean}} [options]  `calm`: as if reduced motion were wanted, or not; otherwise the browser says
   */
  constructor(container, { calm } = {}) {
    if (calm !== undefined) this.#calm = /** @type {MediaQueryList} */ (/** @type {unknown} */ ({ matches: calm }));
    this.#svg = container instanceof SVGSVGElement ? container : /** @type {SVGSVGElement} */ (add(container, "svg"));
    this.#svg.classList.add("face");
    this.#svg.setAttribute("viewBox", "10 10 108 108");
    this.#svg.setAttribute("aria-hidden", "true");
    this.#svg.setAttribute("focusable", "false");
    this.#svg.replaceChildren();
    const clip = `face-mouth-${(faces += 1)}`;
    const tint = add(this.#svg, "circle", { class: "face-tint", cx: 65, cy: 64, r: 50 });
    const head = add(this.#svg, "g", { class: "face-lines" });
    const nose = add(head, "path");
    const brow = add(head, "path");
    const left = add(head, "path", { class: "face-eye" });
    const right = add(head, "path", { class: "face-eye" });
    const mouthGroup = add(head, "g");
    const edge = add(add(mouthGroup, "clipPath", { id: clip }), "path");
    const inside = add(mouthGroup, "g", { class: "face-inside", "clip-path": `url(#${clip})` });
    add(inside, "rect", { class: "face-dark", x: -24, y: -16, width: 48, height: 40 });
    const tongue = add(inside, "ellipse", { class: "face-tongue", rx: 9, ry: 6 });
    const teeth = add(inside, "path", { class: "face-teeth" });
    const outline = add(mouthGroup, "path", { "data-part": "lips" });
    const chin = add(mouthGroup, "path", { class: "face-chin" });
    this.#parts = { tint, head, brow, nose, left, right, mouth: mouthGroup, lips: outline, edge, teeth, tongue, chin };
    // The smaller the drawing, the thicker its lines are in its own units.
    new ResizeObserver(([{ contentRect }]) => {
      if (!contentRect.width) return;
      this.#svg.style.setProperty("--face-line", String(f(1.9 + 150 / contentRect.width)));
      this.#svg.classList.toggle("face-small", contentRect.width < 100);
    }).observe(this.#svg);
    this.#draw();
  }

  /** Whether there is a face at all. Switched off it is hidden and does nothing. */
  get on() {
    return this.#on;
  }

  set on(on) {
    this.#on = on;
    this.#svg.toggleAttribute("hidden", !on);
    if (!on) return;
    if (this.#turn === "away") this.rest();
    else this.#draw();
  }

  /** What is shown now, for tests. @returns {{mouth: MouthShape, look: Attitude}} */
  get now() {
    return { mouth: { ...this.#mouth.shape }, look: { ...this.#look } };
  }

  /**
   * One frame.
   * @param {object} frame
   * @param {string} [frame.viseme]  what EVA's mouth does now, "sil" for nothing
   * @param {number} [frame.level]   EVA's loudness, 0 to 1
   * @param {number} [frame.heard]   the person's loudness, 0 to 1: she attends to it
   * @param {string} [frame.turn]    a {@link Turn}
   * @param {number} [frame.time]    milliseconds on any steady clock
   */
  frame({ viseme = "sil", level = 0, heard = 0, turn = "none", time = performance.now() }) {
    if (!this.#on) return;
    cancelAnimationFrame(this.#resting);
    this.#step(viseme, turn === "hearing" ? heard : level, turn in ATTITUDES ? /** @type {Turn} */ (turn) : "none", time / 1000);
    this.#draw();
  }

  /** The call is over: the mouth closes and the eyes with it, without further frames from outside. */
  rest() {
    cancelAnimationFrame(this.#resting);
    if (!this.#on) return;
    let frames = 150;
    const next = () => {
      this.#step("sil", 0, "away", performance.now() / 1000);
      this.#draw();
      if ((frames -= 1) > 0 && this.#on) this.#resting = requestAnimationFrame(next);
    };
    next();
  }

  /** @param {string} viseme @param {number} level @param {Turn} turn @param {number} t  seconds */
  #step(viseme, level, turn, t) {
    const seconds = Math.min(Math.max(t - this.#last, 0), MAX_STEP_S);
    this.#last = t;
    const changed = turn !== this.#turn;
    this.#turn = turn;
    if (this.#calm.matches) return this.#stand(viseme, turn, t);
    this.#mouth = moveMouth(this.#mouth, viseme, level, seconds);
    this.#level += (clamp(level) - this.#level) * (1 - Math.exp(-12 * seconds));
    this.#wander(turn, t, changed);
    const to = ATTITUDES[turn];
    for (const name of /** @type {(keyof Attitude)[]} */ (Object.keys(to))) {
      const eyes = name === "x" || name === "y";
      const aim = to[name] + (name === "x" ? this.#glance.x : name === "y" ? this.#glance.y : 0);
      [this.#look[name], this.#lookSpeed[name]] = approach(
        this.#look[name], this.#lookSpeed[name], aim, eyes && !changed ? GLANCE : TURN, seconds,
      );
    }
    const over = this.#blink.at + BLINK_CLOSE_S + BLINK_OPEN_S;
    if (turn !== "away" && (t > over || over === Infinity)) this.#nextBlink(t);
  }

  /** Reduced motion: each state is simply there. @param {string} viseme @param {Turn} turn @param {number} t */
  #stand(viseme, turn, t) {
    const shown = heldShape(viseme, this.#held.viseme, t - this.#held.since);
    if (shown !== this.#held.viseme) this.#held = { viseme: shown, since: t };
    this.#mouth = { ...restingMouth(), shape: { ...SHAPES[shown] } };
    this.#look = { ...ATTITUDES[turn], tilt: 0, lean: 0 };
    this.#level = 0;
    this.#blink.at = Infinity;
  }

  /** Irregular, now and then twice. @param {number} t */
  #nextBlink(t) {
    const twice = !this.#blink.again && Math.random() < 0.15;
    const pause = this.#turn === "hearing" ? 3.2 : 2.2;
    this.#blink = { at: t + (twice ? 0.08 : pause + 4 * Math.random() ** 1.5), again: twice };
  }

  /** The eyes are never quite still. @param {Turn} turn @param {number} t @param {boolean} changed */
  #wander(turn, t, changed) {
    if (turn === "away") {
      this.#glance = { x: 0, y: 0, until: 0 };
      return;
    }
    if (t < this.#glance.until && !changed) return;
    const around = () => Math.random() * 2 - 1;
    const aside = turn === "speaking" && !changed && Math.random() < 0.22;
    const reach = turn === "thinking" ? 1.1 : turn === "hearing" ? 0.35 : 0.6;
    this.#glance = aside
      ? { x: around() * 2.4, y: -0.8 + around(), until: t + 0.5 + 0.5 * Math.random() }
      : { x: around() * reach, y: around() * reach * 0.6, until: t + 0.9 + 2 * Math.random() };
  }

  #draw() {
    const { shape } = this.#mouth;
    const { x, y, brow, lid, tilt, lean, tint } = this.#look;
    const parts = this.#parts;
    // The eyes move most, the head a little with them, the colour behind the other way: depth from flat parts.
    const scale = 1 + 0.025 * lean;
    const nod = this.#turn === "speaking" ? this.#level * 0.9 : 0;
    const raised = this.#turn === "hearing" ? brow + this.#level * 1.2 : brow;
    this.#set(parts.tint, "transform", `translate(${f(-x * 0.35)} ${f(-y * 0.35 - lean)})`);
    this.#set(parts.tint, "r", f(48 + 2 * lean + 1.6 * this.#level));
    this.#set(parts.tint, "opacity", f(tint));
    const middle = `${f(60 + x * 0.45)} ${f(62 + y * 0.45 + nod + lean)}`;
    this.#set(parts.head, "transform", `rotate(${f(tilt)} 60 100) translate(${middle}) scale(${f(scale)}) translate(-60 -62)`);
    this.#set(parts.nose, "d", browAndNose(raised));
    this.#set(parts.brow, "d", rightBrow(raised));
    const shut = Math.max(lid, blinkAt(this.#last - this.#blink.at));
    const eye = eyePath(shut, 4);
    for (const [part, [ex, ey]] of /** @type {[Element, number[]][]} */ ([[parts.left, EYES[0]], [parts.right, EYES[1]]])) {
      this.#set(part, "d", eye);
      this.#set(part, "transform", `translate(${f(ex + x * 0.75)} ${f(ey + y * 0.75 - brow * 0.15)})`);
    }
    const outline = lipsPath(shape);
    this.#set(parts.mouth, "transform", `translate(${f(MOUTH[0] + x * 0.12)} ${f(MOUTH[1] + y * 0.12)})`);
    this.#set(parts.lips, "d", outline);
    this.#set(parts.edge, "d", outline);
    this.#set(parts.teeth, "d", teethPath(shape));
    this.#set(parts.tongue, "transform", `translate(0 ${f(shape.open * 0.7 + 6 - 5.5 * shape.tongue)})`);
    this.#set(parts.chin, "d", chinPath(shape));
  }

  /** @param {Element} node @param {string} name @param {string | number} value */
  #set(node, name, value) {
    let known = this.#drawn.get(node);
    if (!known) this.#drawn.set(node, (known = {}));
    if (known[name] === String(value)) return;
    known[name] = String(value);
    node.setAttribute(name, known[name]);
  }
}
