/**
 * What the page remembers on this device between visits. A browser that keeps nothing for it (blocked storage) makes
 * every answer empty; the page works all the same.
 */

/** @typedef {"page-language" | "microphone" | "speaker" | "voice" | "language" | "persona" | "push" | "face" | "insights"} Kept */

/** @param {Kept} name @returns {string} */
export function recall(name) {
  try {
    return localStorage.getItem(name) ?? "";
  } catch {
    return "";
  }
}

/** @param {Kept} name @param {string} value */
export function keep(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // Nothing is kept here, then.
  }
}

/** The access key, for as long as the tab is open. */
export const key = {
  get() {
    try {
      return sessionStorage.getItem("key") ?? "";
    } catch {
      return "";
    }
  },
  /** @param {string} value */
  set(value) {
    try {
      sessionStorage.setItem("key", value);
    } catch {
      // It has to be typed again next time.
    }
  },
};
