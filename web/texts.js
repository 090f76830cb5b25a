/**
 * Every sentence the page shows, in English and French, chosen by the browser's language.
 * `texts.failure[code]` is `[title, what to do]` for each code of `EvaError` and of the gateway.
 */

/** @typedef {typeof english} Texts */

const english = {
  introTitle: "Talk with EVA",
  introText: "Press Call and speak as you would on the phone. EVA listens, thinks and answers aloud; interrupt whenever you like.",
  voice: "Voice",
  brain: "Brain",
  language: "Language",
  version: "Version",
  languages: /** @type {Record<string, string>} */ ({ en: "English", fr: "French", auto: "English or French, as you speak" }),
  captions: "Captions",
  controls: "The call",
  you: "You",
  key: "Access key",
  microphone: "Microphone",
  defaultMicrophone: "Default microphone",
  mute: "Mute",
  unmute: "Unmute",
  unlock: "Let EVA be heard",
  call: "Call",
  cancel: "Cancel",
  hangUp: "Hang up",
  latencyTitle: "Last answer",
  latencyNone: "How fast EVA answers appears here.",
  latencyHint: "from your last sound to EVA’s first",
  parts: /** @type {Record<string, string>} */ ({
    pause: "pause", words: "words", committed: "decision", first_token: "first token",
    first_piece: "first phrase", first_sound: "first sound", wire: "wire",
  }),
  status: /** @type {Record<string, string>} */ ({
    idle: "Not on a call", checking: "Looking for the gateway", unreachable: "Gateway out of reach",
    connecting: "Connecting", connected: "Connected", shaky: "Connection interrupted",
    listening: "Listening", hearing: "Hearing you", thinking: "Thinking", speaking: "Speaking",
  }),
  muted: "Muted",
  began: "You are connected. Say something.",
  ended: (/** @type {string} */ time) => `The call has ended after ${time}.`,
  endedByGateway: (/** @type {string} */ time) => `EVA has ended the call after ${time}.`,
  cut: "interrupted",
  milliseconds: (/** @type {number} */ ms) => `${Math.round(ms)} ms`,
  busyFor: (/** @type {number} */ seconds) => `Try again in ${seconds} s.`,
  failure: /** @type {Record<string, [string, string]>} */ ({
    insecure: ["This page has no microphone here.", "Browsers give the microphone only to pages opened over https, or on this machine as localhost. Open the gateway’s https address."],
    unsupported: ["This browser cannot make calls.", "Use a recent Chromium, Firefox or Safari."],
    permission: ["The microphone was refused.", "Allow it for this page in the browser’s address bar, then call again."],
    "no-microphone": ["No microphone was found.", "Plug one in or switch it on, then call again."],
    "microphone-busy": ["The microphone cannot be opened.", "Another program may be using it. Close that one, then call again."],
    unreachable: ["The gateway cannot be reached.", "See that it is running and that your network is up, then call again."],
    timeout: ["The gateway takes too long to answer.", "It may be starting or overloaded. Call again in a moment."],
    key: ["The access key is not right.", "Enter the key this gateway was started with, then call again."],
    needsKey: ["This gateway wants an access key.", "Enter it below, then call."],
    busy: ["EVA is busy with other calls.", "Try again in a moment."],
    busyFor: ["EVA is busy with other calls.", ""],
    refused: ["The gateway refused the call.", ""],
    "bad-answer": ["The gateway’s answer makes no sense.", "Page and gateway may be of different versions: reload the page."],
    "no-media": ["No path for the sound was found.", "A firewall between you and the gateway may block its UDP and TCP media port."],
    lost: ["The connection was lost.", "See that the network is up and the gateway is running, then call again."],
    shaky: ["The sound has stopped.", "Waiting for the connection to come back."],
    gateway: ["The gateway reports trouble.", ""],
  }),
};

/** @type {Texts} */
const french = {
  introTitle: "Parlez avec EVA",
  introText: "Appuyez sur Appeler et parlez comme au téléphone. EVA écoute, réfléchit et répond de vive voix ; coupez-lui la parole quand vous voulez.",
  voice: "Voix",
  brain: "Modèle",
  language: "Langue",
  version: "Version",
  languages: { en: "anglais", fr: "français", auto: "anglais ou français, selon vous" },
  captions: "Sous-titres",
  controls: "L’appel",
  you: "Vous",
  key: "Clé d’accès",
  microphone: "Microphone",
  defaultMicrophone: "Microphone par défaut",
  mute: "Couper",
  unmute: "Rétablir",
  unlock: "Faire entendre EVA",
  call: "Appeler",
  cancel: "Annuler",
  hangUp: "Raccrocher",
  latencyTitle: "Dernière réponse",
  latencyNone: "Le temps de réponse d’EVA s’affiche ici.",
  latencyHint: "de votre dernier son au premier d’EVA",
  parts: {
    pause: "pause", words: "mots", committed: "décision", first_token: "premier jeton",
    first_piece: "premiers mots", first_sound: "premier son", wire: "ligne",
  },
  status: {
    idle: "Pas d’appel en cours", checking: "Recherche de la passerelle", unreachable: "Passerelle injoignable",
    connecting: "Connexion", connected: "Connecté", shaky: "Connexion interrompue",
    listening: "EVA écoute", hearing: "EVA vous entend", thinking: "EVA réfléchit", speaking: "EVA parle",
  },
  muted: "Micro coupé",
  began: "Vous êtes en ligne. Dites quelque chose.",
  ended: (time) => `L’appel a pris fin après ${time}.`,
  endedByGateway: (time) => `EVA a mis fin à l’appel après ${time}.`,
  cut: "interrompue",
  milliseconds: (ms) => `${Math.round(ms)} ms`,
  busyFor: (seconds) => `Réessayez dans ${seconds} s.`,
  failure: {
    insecure: ["Pas de microphone pour cette page.", "Les navigateurs ne le donnent qu’aux pages ouvertes en https, ou sur cette machine par localhost. Ouvrez l’adresse https de la passerelle."],
    unsupported: ["Ce navigateur ne peut pas appeler.", "Prenez un Chromium, Firefox ou Safari récent."],
    permission: ["Le microphone a été refusé.", "Autorisez-le pour cette page dans la barre d’adresse, puis rappelez."],
    "no-microphone": ["Aucun microphone trouvé.", "Branchez-en un ou allumez-le, puis rappelez."],
    "microphone-busy": ["Le microphone ne s’ouvre pas.", "Un autre programme s’en sert peut-être. Fermez-le, puis rappelez."],
    unreachable: ["La passerelle est injoignable.", "Vérifiez qu’elle tourne et que le réseau fonctionne, puis rappelez."],
    timeout: ["La passerelle tarde trop à répondre.", "Elle démarre peut-être, ou elle est surchargée. Rappelez dans un instant."],
    key: ["La clé d’accès n’est pas la bonne.", "Entrez la clé avec laquelle la passerelle a été lancée, puis rappelez."],
    needsKey: ["Cette passerelle demande une clé d’accès.", "Entrez-la ci-dessous, puis appelez."],
    busy: ["EVA est prise par d’autres appels.", "Réessayez dans un instant."],
    busyFor: ["EVA est prise par d’autres appels.", ""],
    refused: ["La passerelle a refusé l’appel.", ""],
    "bad-answer": ["La réponse de la passerelle est incompréhensible.", "La page et la passerelle n’ont peut-être pas la même version : rechargez la page."],
    "no-media": ["Le son n’a trouvé aucun chemin.", "Un pare-feu bloque peut-être le port UDP et TCP de la passerelle."],
    lost: ["La connexion est perdue.", "Vérifiez le réseau et que la passerelle tourne, puis rappelez."],
    shaky: ["Le son s’est arrêté.", "En attente du retour de la connexion."],
    gateway: ["La passerelle signale un problème.", ""],
  },
};

const isFrench = /^fr\b/i.test(navigator.language ?? "");

/** The page's language as an HTML `lang` value. */
export const lang = isFrench ? "fr" : "en";
/** @type {Texts} */
export const texts = isFrench ? french : english;
