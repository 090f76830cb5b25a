/** What the waterfall says, in English and French. Chosen by the page; numbers are written as the language writes them. */

/** @typedef {typeof english} FigureTexts */

const english = {
  locale: "en",
  last: "Last answer",
  nth: (/** @type {number} */ n) => `Turn ${n}`,
  hint: "from your last sound to EVA’s first",
  hintTitle: "Measured at the gateway; the way between you and it comes on top: see Round trip",
  none: "Talk with EVA: how long each answer takes, and where the time goes, appears here.",
  milliseconds: (/** @type {string} */ ms) => `${ms} ms`,
  seconds: (/** @type {string} */ s) => `${s} s`,
  parts: /** @type {Record<string, string>} */ ({
    pause: "pause", words: "words", committed: "decision", first_token: "first token",
    first_piece: "first phrase", first_sound: "first sound", wire: "wire",
  }),
  partTitles: /** @type {Record<string, string>} */ ({
    pause: "The silence EVA waits through to be sure that you have finished",
    words: "Until your last words are understood",
    committed: "Until EVA decides that it is her turn",
    first_token: "Until the language model’s first token",
    first_piece: "Until there is a first phrase to say",
    first_sound: "Until the voice has made its first sound",
    wire: "Until that sound is on its way to you",
  }),
  p50: "Median, p50",
  p50Title: "Half of the answers took no longer",
  p95: "19 in 20, p95",
  p95Title: "Nineteen of twenty answers took no longer. Shown from five turns on.",
  count: "Turns",
  countTitle: "Answers of this session",
  plot: "Turn shown",
  plotHint: "Voice to voice, turn by turn",
  turns: "Turns, the newest first",
  network: "Network",
  unknown: "–",
  unknownTitle: "Not known",
  percent: (/** @type {string} */ n) => `${n} %`,
  networkNames: /** @type {Record<string, [string, string]>} */ ({
    loss: ["Lost", "Share of EVA’s sound packets that did not arrive in the last seconds"],
    jitter: ["Jitter", "How unevenly the packets arrive"],
    roundTrip: ["Round trip", "How long a packet takes to the gateway and back"],
    concealed: ["Concealed", "Share of the sound your browser had to invent because packets came late or not at all"],
    codec: ["Codec", "How the sound is coded on its way"],
    transport: ["Path", "How the packets travel: UDP is the fast way, TCP and a relay go round firewalls"],
  }),
  transports: /** @type {Record<string, string>} */ ({ udp: "UDP", tcp: "TCP", relay: "Relay" }),
};

/** @type {FigureTexts} */
const french = {
  locale: "fr",
  last: "Dernière réponse",
  nth: (n) => `Tour ${n}`,
  hint: "de votre dernier son au premier d’EVA",
  hintTitle: "Mesuré à la passerelle ; le trajet entre elle et vous s’y ajoute : voir Aller-retour",
  none: "Parlez avec EVA : la durée de chaque réponse, et où passe le temps, s’affiche ici.",
  milliseconds: (ms) => `${ms} ms`,
  seconds: (s) => `${s} s`,
  parts: {
    pause: "pause", words: "mots", committed: "décision", first_token: "premier jeton",
    first_piece: "premiers mots", first_sound: "premier son", wire: "ligne",
  },
  partTitles: {
    pause: "Le silence qu’EVA laisse passer pour être sûre que vous avez fini",
    words: "Jusqu’à ce que vos derniers mots soient compris",
    committed: "Jusqu’à ce qu’EVA décide que c’est à elle",
    first_token: "Jusqu’au premier jeton du modèle de langage",
    first_piece: "Jusqu’à ce qu’il y ait quelques mots à dire",
    first_sound: "Jusqu’à ce que la voix ait produit son premier son",
    wire: "Jusqu’à ce que ce son parte vers vous",
  },
  p50: "Médiane, p50",
  p50Title: "La moitié des réponses n’ont pas pris plus longtemps",
  p95: "19 sur 20, p95",
  p95Title: "Dix-neuf réponses sur vingt n’ont pas pris plus longtemps. Affiché à partir de cinq tours.",
  count: "Tours",
  countTitle: "Réponses de cette session",
  plot: "Tour affiché",
  plotHint: "De voix à voix, tour après tour",
  turns: "Tours, le plus récent d’abord",
  network: "Réseau",
  unknown: "–",
  unknownTitle: "Inconnu",
  percent: (n) => `${n} %`,
  networkNames: {
    loss: ["Pertes", "Part des paquets de son d’EVA qui ne sont pas arrivés ces dernières secondes"],
    jitter: ["Gigue", "Irrégularité d’arrivée des paquets"],
    roundTrip: ["Aller-retour", "Temps que met un paquet jusqu’à la passerelle et retour"],
    concealed: ["Masqué", "Part du son que votre navigateur a dû inventer, faute de paquets arrivés à temps"],
    codec: ["Codec", "Codage du son en route"],
    transport: ["Chemin", "Comment voyagent les paquets : UDP est la voie rapide, TCP et un relais contournent les pare-feux"],
  },
  transports: { udp: "UDP", tcp: "TCP", relay: "Relais" },
};

/** The texts by language. */
export const figureTexts = { en: english, fr: french };
