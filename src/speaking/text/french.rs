//! French: numbers, money, times, units and abbreviations in words.

use super::tongue::{Currency, Marks, Tongue, When};

const ONES: [&str; 17] = [
    "zéro", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf", "dix", "onze",
    "douze", "treize", "quatorze", "quinze", "seize",
];
const TENS: [&str; 7] = ["", "", "vingt", "trente", "quarante", "cinquante", "soixante"];
const SCALES: [(u64, &str); 3] =
    [(1_000_000_000_000, "billion"), (1_000_000_000, "milliard"), (1_000_000, "million")];

fn below_hundred(number: u64) -> String {
    match (number / 10, number % 10) {
        _ if number < 17 => ONES[number as usize].into(),
        (1, one) => format!("dix-{}", ONES[one as usize]),
        (ten @ 2..=6, 0) => TENS[ten as usize].into(),
        (ten @ 2..=6, 1) => format!("{} et un", TENS[ten as usize]),
        (ten @ 2..=6, one) => format!("{}-{}", TENS[ten as usize], ONES[one as usize]),
        (7, 1) => "soixante et onze".into(),
        (7, one) => format!("soixante-{}", below_hundred(10 + one)),
        (8, 0) => "quatre-vingts".into(),
        (8, one) => format!("quatre-vingt-{}", ONES[one as usize]),
        (_, one) => format!("quatre-vingt-{}", below_hundred(10 + one)),
    }
}

/// `before`: a word of the number follows, so that "cents" and "vingts" lose their s.
fn below_thousand(number: u64, before: bool) -> String {
    let (hundreds, rest) = (number / 100, number % 100);
    let head = match hundreds {
        0 => String::new(),
        1 => "cent".into(),
        many if rest == 0 && !before => format!("{} cents", ONES[many as usize]),
        many => format!("{} cent", ONES[many as usize]),
    };
    if rest == 0 && hundreds > 0 {
        return head;
    }
    let tail = match below_hundred(rest) {
        tail if before && tail == "quatre-vingts" => "quatre-vingt".into(),
        tail => tail,
    };
    if head.is_empty() { tail } else { format!("{head} {tail}") }
}

fn cardinal(number: u64) -> String {
    let mut parts = Vec::new();
    let mut rest = number;
    for (scale, name) in SCALES {
        let count = rest / scale;
        rest %= scale;
        if count > 0 {
            let many = if count > 1 { "s" } else { "" };
            parts.push(format!("{} {name}{many}", below_thousand(count, false)));
        }
    }
    match rest / 1000 {
        0 => {}
        1 => parts.push("mille".into()),
        thousands => parts.push(format!("{} mille", below_thousand(thousands, true))),
    }
    if number == 0 || !rest.is_multiple_of(1000) {
        parts.push(below_thousand(rest % 1000, false));
    }
    parts.join(" ")
}

fn feminine(number: u64) -> String {
    let spoken = cardinal(number);
    match spoken.strip_suffix("un") {
        Some(stem) if stem.is_empty() || stem.ends_with([' ', '-']) => format!("{stem}une"),
        _ => spoken,
    }
}

fn ordinal(number: u64) -> String {
    if number == 1 {
        return "premier".into();
    }
    let spoken = cardinal(number);
    let stem = match spoken.as_str() {
        spoken if spoken.ends_with("cinq") => format!("{spoken}u"),
        spoken if spoken.ends_with("neuf") => format!("{}v", &spoken[..spoken.len() - 1]),
        spoken if spoken.ends_with("quatre-vingts") || spoken.ends_with("cents") => {
            spoken[..spoken.len() - 1].into()
        }
        spoken => spoken.strip_suffix('e').unwrap_or(spoken).into(),
    };
    format!("{stem}ième")
}

fn time(hours: u64, minutes: u64, seconds: Option<u64>) -> String {
    let noun = if hours < 2 { "heure" } else { "heures" };
    let mut spoken = format!("{} {noun}", feminine(hours));
    if minutes > 0 || seconds.is_some() {
        spoken.push_str(&format!(" {}", feminine(minutes)));
    }
    if let Some(seconds) = seconds {
        let (and, noun) = if minutes == 0 { (" minute", "seconde") } else { ("", "seconde") };
        let many = if seconds > 1 { "s" } else { "" };
        spoken.push_str(&format!("{and} et {} {noun}{many}", feminine(seconds)));
    }
    spoken
}

fn fraction(digits: &str) -> String {
    let zeros = digits.bytes().take_while(|digit| *digit == b'0').count();
    let rest = &digits[zeros..];
    let mut words = vec!["zéro".to_owned(); zeros];
    if rest.len() <= 3 && !rest.is_empty() {
        words.push(cardinal(rest.parse().unwrap_or(0)));
    } else {
        words.extend(rest.bytes().map(|digit| ONES[usize::from(digit - b'0')].into()));
    }
    words.join(" ")
}

fn date(day: u64, month: u64, year: Option<u64>) -> String {
    let day = if day == 1 { "premier".into() } else { cardinal(day) };
    let year = year.map(|year| format!(" {}", cardinal(year))).unwrap_or_default();
    format!("{day} {}{year}", MONTHS[month as usize - 1])
}

fn part(above: u64, below: u64) -> Option<String> {
    let many = if above > 1 { "s" } else { "" };
    let noun = match below {
        2 if above == 1 => return Some("un demi".into()),
        3 => "tiers".into(),
        4 => format!("quart{many}"),
        5..=10 | 12 | 16 | 20 | 100 | 1000 => ordinal(below) + many,
        _ => return None,
    };
    (above > 0 && above < below).then(|| format!("{} {noun}", cardinal(above)))
}

fn of(noun: &str) -> String {
    if noun.starts_with(['a', 'e', 'é', 'i', 'o', 'u', 'h']) { "d'" } else { "de " }.into()
}

fn reign(number: u64) -> String {
    if number == 1 { "premier".into() } else { cardinal(number) }
}

const MONTHS: [&str; 12] = [
    "janvier",
    "février",
    "mars",
    "avril",
    "mai",
    "juin",
    "juillet",
    "août",
    "septembre",
    "octobre",
    "novembre",
    "décembre",
];

const fn money(sign: &'static str, one: &'static str, many: &'static str) -> Currency {
    Currency { sign, one, many, cent: "cent", cents: "cents", feminine: false }
}

const fn euro(sign: &'static str) -> Currency {
    Currency {
        sign,
        one: "euro",
        many: "euros",
        cent: "centime",
        cents: "centimes",
        feminine: false,
    }
}

const fn pound(sign: &'static str) -> Currency {
    Currency { sign, one: "livre", many: "livres", cent: "penny", cents: "pence", feminine: true }
}

/// French.
pub(super) const FRENCH: Tongue = Tongue {
    cardinal,
    feminine,
    ordinal,
    year: cardinal,
    time,
    fraction,
    date,
    part,
    decimal: ',',
    group: '.',
    day_first: true,
    pairs: true,
    point: "virgule",
    minus: "moins",
    plus: "plus",
    to: "à",
    version: "version",
    marks: Marks {
        dot: "point",
        at: "arobase",
        slash: "barre oblique",
        dash: "tiret",
        underscore: "tiret bas",
        colon: "deux points",
    },
    months: MONTHS,
    short_months: &[
        ("janv", 1),
        ("févr", 2),
        ("fév", 2),
        ("avr", 4),
        ("juil", 7),
        ("sept", 9),
        ("oct", 10),
        ("nov", 11),
        ("déc", 12),
    ],
    currencies: &[
        euro("€"),
        euro("EUR"),
        money("$", "dollar", "dollars"),
        money("US$", "dollar", "dollars"),
        money("USD", "dollar", "dollars"),
        money("$US", "dollar américain", "dollars américains"),
        money("$CA", "dollar canadien", "dollars canadiens"),
        pound("£"),
        pound("GBP"),
        money("¥", "yen", "yens"),
        Currency {
            sign: "CHF",
            one: "franc suisse",
            many: "francs suisses",
            cent: "centime",
            cents: "centimes",
            feminine: false,
        },
    ],
    units: &[
        ("%", "pour cent", "pour cent", false),
        ("‰", "pour mille", "pour mille", false),
        ("km/h", "kilomètre heure", "kilomètres heure", false),
        ("m/s", "mètre par seconde", "mètres par seconde", false),
        ("km2", "kilomètre carré", "kilomètres carrés", false),
        ("m2", "mètre carré", "mètres carrés", false),
        ("m3", "mètre cube", "mètres cubes", false),
        ("cm2", "centimètre carré", "centimètres carrés", false),
        ("km", "kilomètre", "kilomètres", false),
        ("cm", "centimètre", "centimètres", false),
        ("mm", "millimètre", "millimètres", false),
        ("µm", "micromètre", "micromètres", false),
        ("μm", "micromètre", "micromètres", false),
        ("nm", "nanomètre", "nanomètres", false),
        ("m", "mètre", "mètres", false),
        ("ha", "hectare", "hectares", false),
        ("kg", "kilo", "kilos", false),
        ("mg", "milligramme", "milligrammes", false),
        ("g", "gramme", "grammes", false),
        ("t", "tonne", "tonnes", true),
        ("l", "litre", "litres", false),
        ("L", "litre", "litres", false),
        ("ml", "millilitre", "millilitres", false),
        ("mL", "millilitre", "millilitres", false),
        ("cl", "centilitre", "centilitres", false),
        ("°C", "degré", "degrés", false),
        ("°F", "degré Fahrenheit", "degrés Fahrenheit", false),
        ("°", "degré", "degrés", false),
        ("o", "octet", "octets", false),
        ("ko", "kilooctet", "kilooctets", false),
        ("Ko", "kilooctet", "kilooctets", false),
        ("Mo", "mégaoctet", "mégaoctets", false),
        ("Go", "gigaoctet", "gigaoctets", false),
        ("To", "téraoctet", "téraoctets", false),
        ("MB", "mégaoctet", "mégaoctets", false),
        ("GB", "gigaoctet", "gigaoctets", false),
        ("Mb/s", "mégabit par seconde", "mégabits par seconde", false),
        ("Mbit/s", "mégabit par seconde", "mégabits par seconde", false),
        ("Mo/s", "mégaoctet par seconde", "mégaoctets par seconde", false),
        ("Hz", "hertz", "hertz", false),
        ("kHz", "kilohertz", "kilohertz", false),
        ("MHz", "mégahertz", "mégahertz", false),
        ("GHz", "gigahertz", "gigahertz", false),
        ("W", "watt", "watts", false),
        ("kW", "kilowatt", "kilowatts", false),
        ("MW", "mégawatt", "mégawatts", false),
        ("kWh", "kilowattheure", "kilowattheures", false),
        ("V", "volt", "volts", false),
        ("mAh", "milliampère heure", "milliampères heure", false),
        ("dB", "décibel", "décibels", false),
        ("ms", "milliseconde", "millisecondes", true),
        ("s", "seconde", "secondes", true),
        ("sec", "seconde", "secondes", true),
        ("min", "minute", "minutes", true),
        ("mn", "minute", "minutes", true),
        ("h", "heure", "heures", true),
        ("j", "jour", "jours", false),
        ("px", "pixel", "pixels", false),
        ("x", "fois", "fois", false),
    ],
    scales: &[
        ("mille", "mille", "mille"),
        ("million", "million", "millions"),
        ("millions", "million", "millions"),
        ("milliard", "milliard", "milliards"),
        ("milliards", "milliard", "milliards"),
        ("M", "million", "millions"),
        ("Md", "milliard", "milliards"),
        ("Mds", "milliard", "milliards"),
    ],
    of,
    suffixes: &[
        ("k", "mille", "mille"),
        ("K", "mille", "mille"),
        ("M", "million", "millions"),
        ("Md", "milliard", "milliards"),
        ("Mds", "milliard", "milliards"),
    ],
    abbreviations: &[
        ("M", "monsieur", When::Name),
        ("M", "monsieur", When::Stop),
        ("MM", "messieurs", When::Name),
        ("C#", "C sharp", When::Any),
        ("Mr", "monsieur", When::Any),
        ("Mme", "madame", When::Any),
        ("Mmes", "mesdames", When::Any),
        ("Mlle", "mademoiselle", When::Any),
        ("Mlles", "mesdemoiselles", When::Any),
        ("Dr", "docteur", When::Any),
        ("Pr", "professeur", When::Name),
        ("Me", "maître", When::Name),
        ("St", "saint", When::Name),
        ("Ste", "sainte", When::Name),
        ("Mgr", "monseigneur", When::Any),
        ("etc", "et cetera", When::Any),
        ("p.ex", "par exemple", When::Any),
        ("c.-à-d", "c'est-à-dire", When::Any),
        ("cf", "confer", When::Any),
        ("env", "environ", When::Stop),
        ("tél", "téléphone", When::Any),
        ("av", "avenue", When::Stop),
        ("bd", "boulevard", When::Any),
        ("vs", "contre", When::Any),
        ("J.-C", "Jésus-Christ", When::Any),
        ("n°", "numéro", When::Any),
        ("N°", "numéro", When::Any),
        ("no", "numéro", When::Number),
        ("No", "numéro", When::Number),
        ("p", "page", When::Number),
        ("pp", "pages", When::Number),
        ("art", "article", When::Number),
        ("chap", "chapitre", When::Number),
        ("vol", "volume", When::Number),
        ("fig", "figure", When::Number),
    ],
    signs: &[
        ('&', "et"),
        ('+', "plus"),
        ('=', "égale"),
        ('@', "arobase"),
        ('%', "pour cent"),
        ('°', "degrés"),
        ('§', "paragraphe"),
        ('<', "inférieur à"),
        ('>', "supérieur à"),
        ('≈', "environ"),
        ('≠', "différent de"),
        ('≤', "au plus"),
        ('≥', "au moins"),
        ('×', "fois"),
        ('÷', "divisé par"),
        ('$', "dollar"),
        ('€', "euro"),
        ('£', "livre"),
        ('¥', "yen"),
        ('^', "puissance"),
        ('/', ""),
        ('#', ""),
    ],
    counted: &[
        "chapitre", "partie", "volume", "tome", "acte", "scène", "section", "livre", "phase",
        "type", "classe", "titre", "article", "annexe", "guerre", "niveau", "épisode", "figure",
        "tableau", "version", "paris",
    ],
    regal: &[
        "louis",
        "henri",
        "charles",
        "françois",
        "philippe",
        "jean",
        "paul",
        "napoléon",
        "édouard",
        "guillaume",
        "george",
        "georges",
        "élisabeth",
        "elizabeth",
        "pie",
        "benoît",
        "léon",
        "grégoire",
        "frédéric",
        "catherine",
        "pierre",
        "nicolas",
        "alexandre",
        "ivan",
        "ramsès",
        "clément",
        "innocent",
        "urbain",
        "richard",
        "jacques",
        "léopold",
        "albert",
    ],
    reign,
    words: &[
        "a", "à", "ai", "ainsi", "air", "ami", "an", "ans", "as", "au", "aux", "avec", "avez",
        "avis", "bas", "beau", "bel", "bien", "bleu", "bon", "bras", "but", "ça", "car", "cas",
        "ce", "cela", "ces", "cet", "chat", "chef", "cher", "chez", "ciel", "cinq", "clé", "coin",
        "cour", "dans", "de", "deux", "des", "dès", "dieu", "dire", "dit", "dix", "dois", "donc",
        "dont", "dos", "du", "dû", "eau", "elle", "en", "es", "est", "et", "été", "être", "eu",
        "eux", "face", "faim", "fait", "faut", "faux", "fête", "feu", "fil", "fils", "fin", "fois",
        "fou", "gens", "gros", "haut", "hier", "huit", "ici", "idée", "il", "ils", "jeu", "joie",
        "jour", "la", "là", "le", "les", "leur", "lieu", "lire", "loi", "loin", "long", "lors",
        "lui", "lune", "ma", "main", "mais", "mal", "mer", "mère", "mes", "met", "mien", "mis",
        "moi", "mois", "mon", "mort", "mot", "mur", "ne", "nez", "ni", "noir", "nom", "non",
        "nord", "nos", "nous", "nuit", "nul", "on", "ont", "onze", "or", "ou", "où", "oui", "pain",
        "paix", "par", "pas", "pays", "père", "peu", "peur", "peut", "plus", "pour", "près",
        "prix", "puis", "que", "qui", "quoi", "rien", "rue", "sa", "sans", "se", "sept", "ses",
        "seul", "si", "six", "soin", "soir", "sois", "sol", "son", "sont", "sous", "suis", "sur",
        "ta", "tant", "tard", "tel", "tes", "tête", "toi", "ton", "tôt", "tour", "tous", "tout",
        "très", "trop", "tu", "un", "une", "va", "vas", "vers", "vie", "vin", "vite", "voir",
        "voix", "vont", "vos", "vous", "vrai", "vu", "yeux", "nasa", "ovni", "onu", "otan", "sida",
        "smic", "unesco", "unicef", "covid", "ram", "sim", "zip", "opep", "fifa", "insee", "cnil",
        "ena", "laser", "radar", "pin", "gif",
    ],
    letters: [
        "a",
        "bé",
        "cé",
        "dé",
        "e",
        "effe",
        "gé",
        "ache",
        "i",
        "ji",
        "ka",
        "elle",
        "emme",
        "enne",
        "o",
        "pé",
        "ku",
        "erre",
        "esse",
        "té",
        "u",
        "vé",
        "double vé",
        "ixe",
        "i grec",
        "zède",
    ],
};
