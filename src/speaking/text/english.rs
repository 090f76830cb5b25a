//! English: numbers, years, money, units and abbreviations in words, American and British.

use super::tongue::{Currency, Marks, Tongue, When};

const ONES: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 10] =
    ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
const SCALES: [(u64, &str); 4] = [
    (1_000_000_000_000, "trillion"),
    (1_000_000_000, "billion"),
    (1_000_000, "million"),
    (1_000, "thousand"),
];

fn words(number: u64, and: &str) -> String {
    if number < 20 {
        return ONES[number as usize].into();
    }
    if number < 100 {
        let tens = TENS[number as usize / 10];
        return match number % 10 {
            0 => tens.into(),
            one => format!("{tens} {}", ONES[one as usize]),
        };
    }
    if number < 1000 {
        let hundreds = format!("{} hundred", ONES[number as usize / 100]);
        return match number % 100 {
            0 => hundreds,
            rest => format!("{hundreds}{and} {}", words(rest, and)),
        };
    }
    for (scale, name) in SCALES {
        if number >= scale {
            let head = format!("{} {name}", words(number / scale, and));
            return match number % scale {
                0 => head,
                rest if rest < 100 => format!("{head}{and} {}", words(rest, and)),
                rest => format!("{head} {}", words(rest, and)),
            };
        }
    }
    String::new()
}

fn cardinal(number: u64) -> String {
    words(number, "")
}

fn cardinal_and(number: u64) -> String {
    words(number, " and")
}

fn ordinal(number: u64) -> String {
    let spoken = cardinal(number);
    let (head, last) = spoken.rsplit_once(' ').map_or(("", spoken.as_str()), |(h, l)| (h, l));
    let last = match last {
        "one" => "first".into(),
        "two" => "second".into(),
        "three" => "third".into(),
        "five" => "fifth".into(),
        "eight" => "eighth".into(),
        "nine" => "ninth".into(),
        "twelve" => "twelfth".into(),
        other => match other.strip_suffix('y') {
            Some(stem) => format!("{stem}ieth"),
            None => format!("{other}th"),
        },
    };
    if head.is_empty() { last } else { format!("{head} {last}") }
}

fn year(year: u64) -> String {
    match (year / 100, year % 100) {
        (20, low) if low < 10 => cardinal(year),
        (high @ 11..=20, 0) => format!("{} hundred", cardinal(high)),
        (high @ 11..=20, low @ 1..10) => format!("{} oh {}", cardinal(high), cardinal(low)),
        (high @ 11..=20, low) => format!("{} {}", cardinal(high), cardinal(low)),
        _ => cardinal(year),
    }
}

fn time(hours: u64, minutes: u64, seconds: Option<u64>) -> String {
    let mut spoken = cardinal(hours);
    match minutes {
        0 if seconds.is_some() => spoken.push_str(" hundred"),
        0 if (1..=12).contains(&hours) => spoken.push_str(" o'clock"),
        0 => spoken.push_str(" hundred"),
        1..10 => spoken.push_str(&format!(" oh {}", cardinal(minutes))),
        _ => spoken.push_str(&format!(" {}", cardinal(minutes))),
    }
    if let Some(seconds) = seconds {
        let noun = if seconds == 1 { "second" } else { "seconds" };
        spoken.push_str(&format!(" and {} {noun}", cardinal(seconds)));
    }
    spoken
}

fn fraction(digits: &str) -> String {
    let digits = digits.bytes().map(|digit| ONES[usize::from(digit - b'0')]);
    digits.collect::<Vec<_>>().join(" ")
}

fn date(day: u64, month: u64, given: Option<u64>) -> String {
    let month = MONTHS[month as usize - 1];
    let year = given.map(|given| format!(" {}", year(given))).unwrap_or_default();
    format!("{month} {}{year}", ordinal(day))
}

fn date_british(day: u64, month: u64, given: Option<u64>) -> String {
    let month = MONTHS[month as usize - 1];
    let year = given.map(|given| format!(" {}", year(given))).unwrap_or_default();
    format!("the {} of {month}{year}", ordinal(day))
}

fn part(above: u64, below: u64) -> Option<String> {
    let noun = match below {
        2 => if above == 1 { "half" } else { "halves" }.into(),
        4 => if above == 1 { "quarter" } else { "quarters" }.into(),
        3 | 5..=10 | 12 | 16 | 20 | 32 | 64 | 100 | 1000 => {
            ordinal(below) + if above == 1 { "" } else { "s" }
        }
        _ => return None,
    };
    (above > 0 && above < below).then(|| format!("{} {noun}", cardinal(above)))
}

fn of(_noun: &str) -> String {
    String::new()
}

fn reign(number: u64) -> String {
    format!("the {}", ordinal(number))
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const fn money(sign: &'static str, one: &'static str, many: &'static str) -> Currency {
    Currency { sign, one, many, cent: "cent", cents: "cents", feminine: false }
}

/// American English.
pub(super) const AMERICAN: Tongue = Tongue {
    cardinal,
    feminine: cardinal,
    ordinal,
    year,
    time,
    fraction,
    date,
    part,
    decimal: '.',
    group: ',',
    day_first: false,
    pairs: false,
    point: "point",
    minus: "minus",
    plus: "plus",
    to: "to",
    version: "version",
    marks: Marks {
        dot: "dot",
        at: "at",
        slash: "slash",
        dash: "dash",
        underscore: "underscore",
        colon: "colon",
    },
    months: MONTHS,
    short_months: &[
        ("Jan", 1),
        ("Feb", 2),
        ("Mar", 3),
        ("Apr", 4),
        ("Jun", 6),
        ("Jul", 7),
        ("Aug", 8),
        ("Sep", 9),
        ("Sept", 9),
        ("Oct", 10),
        ("Nov", 11),
        ("Dec", 12),
    ],
    currencies: &[
        money("$", "dollar", "dollars"),
        money("US$", "dollar", "dollars"),
        money("USD", "dollar", "dollars"),
        money("C$", "Canadian dollar", "Canadian dollars"),
        money("CA$", "Canadian dollar", "Canadian dollars"),
        money("A$", "Australian dollar", "Australian dollars"),
        money("AU$", "Australian dollar", "Australian dollars"),
        money("€", "euro", "euros"),
        money("EUR", "euro", "euros"),
        Currency {
            sign: "£",
            one: "pound",
            many: "pounds",
            cent: "penny",
            cents: "pence",
            feminine: false,
        },
        Currency {
            sign: "GBP",
            one: "pound",
            many: "pounds",
            cent: "penny",
            cents: "pence",
            feminine: false,
        },
        money("¥", "yen", "yen"),
        money("JPY", "yen", "yen"),
        money("₹", "rupee", "rupees"),
        money("CHF", "Swiss franc", "Swiss francs"),
    ],
    units: &[
        ("%", "percent", "percent", false),
        ("‰", "per mille", "per mille", false),
        ("km/h", "kilometer per hour", "kilometers per hour", false),
        ("kph", "kilometer per hour", "kilometers per hour", false),
        ("mph", "mile per hour", "miles per hour", false),
        ("m/s", "meter per second", "meters per second", false),
        ("km2", "square kilometer", "square kilometers", false),
        ("m2", "square meter", "square meters", false),
        ("m3", "cubic meter", "cubic meters", false),
        ("cm2", "square centimeter", "square centimeters", false),
        ("km", "kilometer", "kilometers", false),
        ("cm", "centimeter", "centimeters", false),
        ("mm", "millimeter", "millimeters", false),
        ("µm", "micrometer", "micrometers", false),
        ("μm", "micrometer", "micrometers", false),
        ("nm", "nanometer", "nanometers", false),
        ("m", "meter", "meters", false),
        ("ft", "foot", "feet", false),
        ("mi", "mile", "miles", false),
        ("yd", "yard", "yards", false),
        ("kg", "kilogram", "kilograms", false),
        ("mg", "milligram", "milligrams", false),
        ("g", "gram", "grams", false),
        ("lb", "pound", "pounds", false),
        ("lbs", "pound", "pounds", false),
        ("oz", "ounce", "ounces", false),
        ("l", "liter", "liters", false),
        ("L", "liter", "liters", false),
        ("ml", "milliliter", "milliliters", false),
        ("mL", "milliliter", "milliliters", false),
        ("cl", "centiliter", "centiliters", false),
        ("°C", "degree Celsius", "degrees Celsius", false),
        ("°F", "degree Fahrenheit", "degrees Fahrenheit", false),
        ("°", "degree", "degrees", false),
        ("B", "byte", "bytes", false),
        ("kB", "kilobyte", "kilobytes", false),
        ("KB", "kilobyte", "kilobytes", false),
        ("MB", "megabyte", "megabytes", false),
        ("GB", "gigabyte", "gigabytes", false),
        ("TB", "terabyte", "terabytes", false),
        ("Mbps", "megabit per second", "megabits per second", false),
        ("Mbit/s", "megabit per second", "megabits per second", false),
        ("Gbps", "gigabit per second", "gigabits per second", false),
        ("MB/s", "megabyte per second", "megabytes per second", false),
        ("Hz", "hertz", "hertz", false),
        ("kHz", "kilohertz", "kilohertz", false),
        ("MHz", "megahertz", "megahertz", false),
        ("GHz", "gigahertz", "gigahertz", false),
        ("W", "watt", "watts", false),
        ("kW", "kilowatt", "kilowatts", false),
        ("MW", "megawatt", "megawatts", false),
        ("kWh", "kilowatt hour", "kilowatt hours", false),
        ("V", "volt", "volts", false),
        ("mAh", "milliamp hour", "milliamp hours", false),
        ("dB", "decibel", "decibels", false),
        ("ms", "millisecond", "milliseconds", false),
        ("µs", "microsecond", "microseconds", false),
        ("μs", "microsecond", "microseconds", false),
        ("s", "second", "seconds", false),
        ("sec", "second", "seconds", false),
        ("min", "minute", "minutes", false),
        ("mins", "minute", "minutes", false),
        ("h", "hour", "hours", false),
        ("hr", "hour", "hours", false),
        ("hrs", "hour", "hours", false),
        ("px", "pixel", "pixels", false),
        ("fps", "frame per second", "frames per second", false),
        ("rpm", "R P M", "R P M", false),
        ("x", "times", "times", false),
    ],
    scales: &[
        ("hundred", "hundred", "hundred"),
        ("thousand", "thousand", "thousand"),
        ("million", "million", "million"),
        ("billion", "billion", "billion"),
        ("trillion", "trillion", "trillion"),
        ("bn", "billion", "billion"),
        ("mn", "million", "million"),
    ],
    of,
    suffixes: &[
        ("k", "thousand", "thousand"),
        ("K", "thousand", "thousand"),
        ("M", "million", "million"),
        ("m", "million", "million"),
        ("mn", "million", "million"),
        ("B", "billion", "billion"),
        ("b", "billion", "billion"),
        ("bn", "billion", "billion"),
        ("T", "trillion", "trillion"),
    ],
    abbreviations: &[
        ("Mr", "mister", When::Any),
        ("Mrs", "missus", When::Any),
        ("Ms", "miz", When::Any),
        ("Dr", "doctor", When::Name),
        ("Prof", "professor", When::Any),
        ("St", "saint", When::Name),
        ("St", "street", When::Stop),
        ("Dr", "drive", When::Stop),
        ("Ave", "avenue", When::Any),
        ("Blvd", "boulevard", When::Any),
        ("Rd", "road", When::Any),
        ("Mt", "mount", When::Name),
        ("Ft", "fort", When::Name),
        ("Jr", "junior", When::Any),
        ("Sr", "senior", When::Any),
        ("Gen", "general", When::Stop),
        ("Col", "colonel", When::Stop),
        ("Capt", "captain", When::Any),
        ("Sgt", "sergeant", When::Any),
        ("Lt", "lieutenant", When::Any),
        ("Gov", "governor", When::Stop),
        ("Sen", "senator", When::Stop),
        ("Rep", "representative", When::Stop),
        ("Rev", "reverend", When::Stop),
        ("Hon", "honorable", When::Stop),
        ("vs", "versus", When::Any),
        ("etc", "et cetera", When::Any),
        ("e.g", "for example", When::Any),
        ("i.e", "that is", When::Any),
        ("a.m", "A M", When::Any),
        ("p.m", "P M", When::Any),
        ("approx", "approximately", When::Any),
        ("dept", "department", When::Stop),
        ("est", "estimated", When::Stop),
        ("Inc", "incorporated", When::Stop),
        ("Ltd", "limited", When::Any),
        ("Corp", "corporation", When::Stop),
        ("Co", "company", When::Stop),
        ("No", "number", When::Number),
        ("no", "number", When::Number),
        ("Nos", "numbers", When::Number),
        ("Fig", "figure", When::Number),
        ("fig", "figure", When::Number),
        ("Vol", "volume", When::Number),
        ("vol", "volume", When::Number),
        ("Ch", "chapter", When::Number),
        ("p", "page", When::Number),
        ("pp", "pages", When::Number),
        ("Mon", "Monday", When::Stop),
        ("Tue", "Tuesday", When::Stop),
        ("Tues", "Tuesday", When::Stop),
        ("Wed", "Wednesday", When::Stop),
        ("Thu", "Thursday", When::Stop),
        ("Thurs", "Thursday", When::Stop),
        ("Fri", "Friday", When::Stop),
        ("C#", "C sharp", When::Any),
        ("w/o", "without", When::Any),
        ("w/", "with", When::Any),
    ],
    signs: &[
        ('&', "and"),
        ('+', "plus"),
        ('=', "equals"),
        ('@', "at"),
        ('%', "percent"),
        ('°', "degrees"),
        ('§', "section"),
        ('<', "is less than"),
        ('>', "is greater than"),
        ('≈', "about"),
        ('≠', "is not equal to"),
        ('≤', "is at most"),
        ('≥', "is at least"),
        ('×', "times"),
        ('÷', "divided by"),
        ('$', "dollar"),
        ('€', "euro"),
        ('£', "pound"),
        ('¥', "yen"),
        ('^', "to the power of"),
        ('/', ""),
        ('#', ""),
    ],
    counted: &[
        "chapter", "part", "volume", "act", "scene", "section", "book", "phase", "type", "class",
        "title", "article", "appendix", "war", "bowl", "stage", "level", "grade", "episode",
        "figure", "table", "mark", "version",
    ],
    regal: &[
        "louis",
        "henry",
        "george",
        "charles",
        "edward",
        "james",
        "william",
        "richard",
        "elizabeth",
        "pius",
        "benedict",
        "john",
        "paul",
        "francis",
        "leo",
        "gregory",
        "napoleon",
        "nicholas",
        "alexander",
        "frederick",
        "philip",
        "catherine",
        "peter",
        "ivan",
        "ramses",
        "clement",
        "innocent",
        "urban",
        "pope",
        "wilhelm",
        "otto",
        "gustav",
        "christian",
        "felipe",
    ],
    reign,
    words: &[
        "a", "about", "act", "add", "age", "ago", "aid", "air", "all", "also", "am", "an", "and",
        "any", "are", "area", "arm", "art", "as", "ask", "at", "away", "back", "bad", "be", "bed",
        "been", "best", "big", "bit", "book", "both", "box", "boy", "bug", "but", "buy", "by",
        "call", "can", "car", "card", "care", "case", "cat", "city", "cold", "come", "cool",
        "cost", "cut", "dad", "dark", "data", "date", "day", "dead", "deal", "dear", "did", "do",
        "does", "dog", "done", "down", "each", "easy", "eat", "else", "end", "even", "ever", "eye",
        "face", "fact", "fall", "far", "fast", "fear", "feel", "few", "file", "find", "fire",
        "five", "fix", "fly", "food", "for", "form", "four", "free", "from", "full", "fun", "game",
        "gave", "get", "girl", "give", "go", "goes", "gone", "good", "got", "had", "half", "hand",
        "hard", "has", "hate", "have", "he", "head", "hear", "hell", "help", "her", "here", "hers",
        "hey", "hi", "high", "him", "his", "hit", "hold", "home", "hope", "hot", "hour", "how",
        "huge", "i", "idea", "if", "in", "into", "is", "it", "its", "job", "join", "just", "keep",
        "key", "kid", "kill", "kind", "king", "knew", "know", "land", "last", "late", "law",
        "lead", "left", "less", "let", "lie", "life", "like", "line", "list", "live", "long",
        "look", "lose", "lost", "lot", "love", "low", "luck", "mad", "made", "main", "make", "man",
        "many", "may", "me", "mean", "men", "mind", "mine", "miss", "mom", "more", "most", "move",
        "much", "must", "my", "name", "near", "need", "new", "news", "next", "nice", "nine", "no",
        "none", "nope", "not", "note", "now", "of", "off", "oh", "old", "on", "once", "one",
        "only", "open", "or", "our", "out", "over", "own", "page", "part", "past", "pay", "plan",
        "play", "put", "read", "real", "rest", "rich", "ride", "right", "road", "room", "run",
        "safe", "said", "sale", "same", "save", "saw", "say", "sea", "see", "seem", "sell", "send",
        "sent", "set", "she", "shop", "show", "side", "sign", "sing", "sit", "six", "slow", "so",
        "some", "soon", "stay", "step", "stop", "such", "sun", "sure", "take", "talk", "tell",
        "ten", "test", "than", "that", "the", "them", "then", "they", "this", "time", "to", "told",
        "too", "took", "top", "true", "try", "turn", "two", "type", "ugly", "up", "upon", "us",
        "use", "used", "very", "wait", "walk", "wall", "want", "war", "warm", "was", "way", "we",
        "week", "well", "went", "were", "what", "when", "who", "why", "will", "win", "wish",
        "with", "word", "work", "wow", "yeah", "year", "yes", "yet", "you", "your", "zero", "aids",
        "asap", "covid", "fema", "gif", "nasa", "nafta", "nato", "opec", "osha", "pin", "ram",
        "radar", "scuba", "sim", "swat", "unicef", "unesco", "zip", "laser", "sonar", "nasdaq",
        "pisa", "pdf's",
    ],
    letters: [
        "ay",
        "bee",
        "see",
        "dee",
        "ee",
        "eff",
        "gee",
        "aitch",
        "eye",
        "jay",
        "kay",
        "ell",
        "em",
        "en",
        "oh",
        "pee",
        "cue",
        "ar",
        "ess",
        "tee",
        "you",
        "vee",
        "double you",
        "ex",
        "why",
        "zee",
    ],
};

/// British English: "and" after hundreds, the day before the month.
pub(super) const BRITISH: Tongue = Tongue {
    cardinal: cardinal_and,
    feminine: cardinal_and,
    date: date_british,
    day_first: true,
    ..AMERICAN
};
