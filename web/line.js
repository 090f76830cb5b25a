/**
 * The line: both voices over time, drawn on a canvas. In: levels and moments. Out: a picture. EVA is above the
 * middle, the person below; now is in the middle, the past runs off to the left, and the words EVA is about to say
 * come in from the right. The silence between a question and its answer is marked with its length.
 *
 * With reduced motion wanted nothing runs: the two levels are shown as bars that stand still.
 */

/** Pixels a second of time takes. */
const PX_PER_S = 64;
/** One bar's share of the width, and the bar itself. */
const STEP_PX = 5;
const BAR_PX = 3;
const STEP_S = STEP_PX / PX_PER_S;
/** Bars kept: enough for the widest screen. */
const MAX_BARS = 1024;
/** Redraws a second when motion is to be reduced. */
const CALM_HZ = 4;

export class Line {
  /** @type {CanvasRenderingContext2D} */ #ink;
  /** @type {{at: number, you: number, eva: number}[]} */ #bars = [];
  /** @type {{from: number, to: number, text: string}[]} */ #gaps = [];
  #colors = { eva: "", you: "", rule: "", ink: "", soft: "" };
  #font = "";
  #width = 0;
  #height = 0;
  #calm = matchMedia("(prefers-reduced-motion: reduce)");
  #lastCalm = 0;

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.#ink = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    const dress = () => {
      const style = getComputedStyle(canvas);
      for (const name of /** @type {const} */ (["eva", "you", "rule", "ink", "soft"])) {
        this.#colors[name] = style.getPropertyValue(`--${name}`).trim();
      }
      this.#font = `600 12px ${style.fontFamily}`;
      this.draw(null);
    };
    new ResizeObserver(() => {
      const scale = devicePixelRatio || 1;
      this.#width = canvas.clientWidth;
      this.#height = canvas.clientHeight;
      canvas.width = Math.round(this.#width * scale);
      canvas.height = Math.round(this.#height * scale);
      this.#ink.setTransform(scale, 0, 0, scale, 0, 0);
      dress();
    }).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", dress);
  }

  /** Empty again. */
  clear() {
    this.#bars = [];
    this.#gaps = [];
    this.draw(null);
  }

  /**
   * The silence before an answer that begins now.
   * @param {number} ms @param {string} text
   */
  gap(ms, text) {
    const to = performance.now() / 1000;
    this.#gaps.push({ from: to - ms / 1000, to, text });
    if (this.#gaps.length > 32) this.#gaps.shift();
  }

  /**
   * One frame of a call; `null` draws the line at rest.
   * @param {{you: number, eva: number, ahead: {start: number, end: number}[]} | null} now
   */
  draw(now) {
    const t = performance.now() / 1000;
    if (now) this.#remember(t, now);
    if (now && this.#calm.matches) {
      if (t - this.#lastCalm < 1 / CALM_HZ) return;
      this.#lastCalm = t;
    }
    const ink = this.#ink;
    ink.clearRect(0, 0, this.#width, this.#height);
    const middle = this.#height / 2;
    if (this.#calm.matches) return this.#standing(now, middle);
    this.#rest(middle);
    this.#past(now ? t : (this.#bars.at(-1)?.at ?? t), middle);
    if (now) this.#future(now.ahead, middle);
  }

  /** @param {number} t @param {{you: number, eva: number}} now */
  #remember(t, now) {
    const last = this.#bars.at(-1);
    if (last && t - last.at < STEP_S) {
      last.you = Math.max(last.you, now.you);
      last.eva = Math.max(last.eva, now.eva);
      return;
    }
    // On a grid of their own, so that bars keep their distance whatever the frame rate.
    const at = last && t - last.at < 2 * STEP_S ? last.at + STEP_S : t;
    this.#bars.push({ at, you: now.you, eva: now.eva });
    if (this.#bars.length > MAX_BARS) this.#bars.shift();
  }

  /** @param {number} t @param {number} middle */
  #past(t, middle) {
    const reach = middle - 10;
    const nowX = this.#width / 2;
    for (const bar of this.#bars) {
      const x = nowX - (t - bar.at) * PX_PER_S - BAR_PX;
      if (x < -BAR_PX) continue;
      this.#ink.globalAlpha = fade(x / nowX);
      if (bar.eva > 0.02) this.#bar(x, middle - 4, -height(bar.eva) * reach, this.#colors.eva);
      if (bar.you > 0.02) this.#bar(x, middle + 4, height(bar.you) * reach, this.#colors.you);
    }
    for (const gap of this.#gaps) {
      const from = nowX - (t - gap.from) * PX_PER_S;
      const to = nowX - (t - gap.to) * PX_PER_S;
      if (to < -80) continue;
      this.#ink.globalAlpha = fade(from / nowX);
      this.#ink.fillStyle = this.#colors.ink;
      this.#ink.fillRect(from, middle - 1, Math.max(to - from, 2), 2);
      this.#ink.fillRect(from, middle - 5, 2, 10);
      this.#ink.fillRect(to - 2, middle - 5, 2, 10);
      this.#ink.font = this.#font;
      this.#ink.fillText(gap.text, from, middle + 24);
    }
    this.#ink.globalAlpha = 1;
  }

  /** @param {{start: number, end: number}[]} ahead @param {number} middle */
  #future(ahead, middle) {
    const nowX = this.#width / 2;
    this.#ink.fillStyle = this.#colors.eva;
    for (const word of ahead) {
      const from = Math.max(nowX + word.start * PX_PER_S, nowX + 2);
      const to = nowX + word.end * PX_PER_S - 3;
      if (from > this.#width || to <= from) continue;
      this.#ink.globalAlpha = 0.55 * fade((this.#width - from) / nowX);
      this.#pill(from, middle - 12, to - from, 6);
    }
    this.#ink.globalAlpha = 1;
    this.#ink.fillStyle = this.#colors.soft;
    this.#ink.fillRect(nowX, 10, 1.5, this.#height - 20);
  }

  /** The dotted middle. @param {number} middle */
  #rest(middle) {
    this.#ink.fillStyle = this.#colors.rule;
    const first = (this.#width / 2) % (2 * STEP_PX);
    for (let x = first; x < this.#width; x += 2 * STEP_PX) {
      this.#ink.globalAlpha = fade(Math.min(x, this.#width - x) / (this.#width / 2));
      this.#pill(x - 1, middle - 1, 2, 2);
    }
    this.#ink.globalAlpha = 1;
  }

  /** Two bars that stand still. @param {{you: number, eva: number} | null} now @param {number} middle */
  #standing(now, middle) {
    const full = Math.min(this.#width - 160, 480);
    const left = (this.#width - full) / 2;
    for (const [level, y, color] of /** @type {[number, number, string][]} */ ([
      [now?.eva ?? 0, middle - 16, this.#colors.eva], [now?.you ?? 0, middle + 8, this.#colors.you],
    ])) {
      this.#ink.fillStyle = this.#colors.rule;
      this.#pill(left, y, full, 8);
      this.#ink.fillStyle = color;
      if (level > 0.02) this.#pill(left, y, full * level, 8);
    }
  }

  /** @param {number} x @param {number} from @param {number} reach  signed @param {string} color */
  #bar(x, from, reach, color) {
    this.#ink.fillStyle = color;
    const length = Math.max(Math.abs(reach), BAR_PX);
    this.#pill(x, reach < 0 ? from - length : from, BAR_PX, length);
  }

  /** @param {number} x @param {number} y @param {number} width @param {number} height */
  #pill(x, y, width, height) {
    this.#ink.beginPath();
    this.#ink.roundRect(x, y, width, height, Math.min(width, height) / 2);
    this.#ink.fill();
  }
}

/** Speech lives in the upper half of the decibels: spread it out. @param {number} level */
function height(level) {
  return level ** 1.7;
}

/** Towards the edges things fade. @param {number} share  0 at the edge, 1 in the middle */
function fade(share) {
  return Math.min(Math.max(share * 3, 0), 1);
}
