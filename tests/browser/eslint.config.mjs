// The rules for the scripts of the pages and of these tests: recommended ones, and a few that keep faults out
// which a reader overlooks. Run from the repository's root: `make lint`.

import js from "@eslint/js";
import globals from "globals";

/** What would let a text become markup or code. The pages' Content-Security-Policy forbids half of it at run time. */
const MARKUP = [
  ["AssignmentExpression[left.property.name=/^(innerHTML|outerHTML|srcdoc)$/]", "Texts are texts: use textContent or append()."],
  ["CallExpression[callee.property.name=/^(insertAdjacentHTML|setHTMLUnsafe|createContextualFragment)$/]", "Texts are texts: use append()."],
  ["CallExpression[callee.object.name='document'][callee.property.name=/^(write|writeln|execCommand)$/]", "document.write() and its like are no part of a page."],
  ["CallExpression[callee.property.name='setAttribute'][arguments.0.value=/^(style|on.+)$/]", "The Content-Security-Policy forbids it: set element.style.… or addEventListener()."],
].map(([selector, message]) => ({ selector, message }));

// A file of the pages says first, in a comment like JSDoc's, what goes in and out.
const opening = {
  rules: {
    purpose: {
      create: (context) => ({
        Program(node) {
          if (context.sourceCode.text.startsWith("/**")) return;
          context.report({ node, message: "The file does not open with its purpose, /** … */." });
        },
      }),
    },
  },
};

const sharp = {
  "array-callback-return": "error",
  eqeqeq: ["error", "always", { null: "ignore" }],
  "no-console": "error",
  "no-constant-binary-expression": "error",
  "no-eval": "error",
  "no-extend-native": "error",
  "no-implied-eval": "error",
  "no-new-func": "error",
  "no-new-wrappers": "error",
  "no-restricted-syntax": ["error", ...MARKUP],
  "no-script-url": "error",
  "no-self-compare": "error",
  "no-throw-literal": "error",
  "no-undef": "error",
  "no-unmodified-loop-condition": "error",
  "no-unreachable-loop": "error",
  "no-unused-vars": ["error", { args: "after-used", caughtErrors: "all" }],
  "no-useless-assignment": "error",
  "no-var": "error",
  "prefer-const": "error",
  "prefer-promise-reject-errors": "error",
  radix: "error",
  "require-await": "error",
};

export default [
  js.configs.recommended,
  { linterOptions: { reportUnusedDisableDirectives: "error" } },
  {
    files: ["web/**/*.js"],
    languageOptions: { ecmaVersion: 2024, sourceType: "module", globals: globals.browser },
    plugins: { opening },
    rules: {
      ...sharp,
      "max-len": ["error", { code: 140, ignoreStrings: true, ignoreTemplateLiterals: true, ignoreRegExpLiterals: true }],
      "max-lines-per-function": ["error", { max: 60, skipBlankLines: true, skipComments: true }],
      "opening/purpose": "error",
    },
  },
  {
    // Half of a test runs in the page.
    files: ["tests/browser/**/*.{js,mjs}"],
    languageOptions: { ecmaVersion: 2024, sourceType: "module", globals: { ...globals.node, ...globals.browser } },
    rules: { ...sharp, "no-console": "off", "require-await": "off" },
  },
];
