//! Reads the formats of Java's `Formatter`: `%[argument$][flags][width][.precision]conversion`.

/// Greatest width and precision. Java has no limit, but a text of a greater width is a mistake.
const WIDTH_MAX: usize = 100_000;

/// A part of a format.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Conversion(Conversion),
}

/// The argument that a conversion formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// The one after that of the last conversion without a position.
    Next,
    /// That of the conversion before: `%<s`.
    Previous,
    /// The argument at a position from 0.
    At(usize),
}

/// What a conversion writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Boolean,
    Character,
    Decimal,
    Fixed,
    General,
    Hexadecimal,
    Octal,
    Scientific,
    Text,
}

impl Kind {
    fn of_letter(letter: char) -> Option<Self> {
        Some(match letter {
            'b' | 'B' => Self::Boolean,
            'c' | 'C' => Self::Character,
            'd' => Self::Decimal,
            'e' | 'E' => Self::Scientific,
            'f' => Self::Fixed,
            'g' | 'G' => Self::General,
            'o' => Self::Octal,
            's' | 'S' => Self::Text,
            'x' | 'X' => Self::Hexadecimal,
            _ => return None,
        })
    }

    fn allowed_flags(self) -> &'static str {
        match self {
            Self::Boolean | Self::Character | Self::Text => "-<",
            Self::Decimal | Self::General => "-+ 0,(<",
            Self::Fixed => "-#+ 0,(<",
            Self::Scientific => "-#+ 0(<",
            Self::Hexadecimal | Self::Octal => "-#0<",
        }
    }

    fn has_precision(self) -> bool {
        !matches!(
            self,
            Self::Character | Self::Decimal | Self::Hexadecimal | Self::Octal
        )
    }
}

/// One conversion of a format.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Conversion {
    /// The conversion as it is written, for messages.
    pub(super) text: String,
    pub(super) argument: Which,
    flags: String,
    pub(super) width: usize,
    pub(super) precision: Option<usize>,
    pub(super) kind: Kind,
    pub(super) is_upper: bool,
}

impl Conversion {
    pub(super) fn has_flag(&self, flag: char) -> bool {
        self.flags.contains(flag)
    }

    /// Fills a text with spaces up to the width.
    pub(super) fn pad(&self, text: &str) -> String {
        let width = self.width;
        match self.has_flag('-') {
            true => format!("{text:<width$}"),
            false => format!("{text:>width$}"),
        }
    }

    fn check(self) -> Result<Self, String> {
        let allowed = self.kind.allowed_flags();
        let is_contradiction =
            self.has_flag('-') && self.has_flag('0') || self.has_flag('+') && self.has_flag(' ');
        let needs_width = self.has_flag('-') || self.has_flag('0');
        if is_contradiction || !self.flags.chars().all(|flag| allowed.contains(flag)) {
            Err(format!("'{}' has flags that do not fit", self.text))
        } else if needs_width && self.width == 0 {
            Err(format!("'{}' has a flag that needs a width", self.text))
        } else if self.precision.is_some() && !self.kind.has_precision() {
            Err(format!(
                "'{}' has a precision, which it cannot have",
                self.text
            ))
        } else if self.width.max(self.precision.unwrap_or(0)) > WIDTH_MAX {
            Err(format!(
                "'{}' is wider than {WIDTH_MAX} characters",
                self.text
            ))
        } else {
            Ok(self)
        }
    }
}

/// Reads a format.
///
/// # Errors
/// Returns what is wrong with the first conversion that is not one.
pub(super) fn parse(format: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = format;
    while let Some(start) = rest.find('%') {
        pieces.push(Piece::Text(rest[..start].to_owned()));
        let (piece, tail) = parse_conversion(&rest[start..])?;
        pieces.push(piece);
        rest = tail;
    }
    pieces.push(Piece::Text(rest.to_owned()));
    Ok(pieces)
}

/// Reads the conversion at the start of a text, and returns the text behind it.
fn parse_conversion(text: &str) -> Result<(Piece, &str), String> {
    let mut rest = &text[1..];
    let mut argument = None;
    let (position, behind) = split_digits(rest);
    if let Some(behind) = behind.strip_prefix('$') {
        argument = Some(position);
        rest = behind;
    }
    let flags_end = rest
        .find(|c: char| !"-#+ 0,(<".contains(c))
        .unwrap_or(rest.len());
    let (flags, behind) = rest.split_at(flags_end);
    let (width, mut rest) = split_digits(behind);
    let mut precision = None;
    if let Some(behind) = rest.strip_prefix('.') {
        let (digits, behind) = split_digits(behind);
        precision = Some(number(text, digits)?);
        rest = behind;
    }
    let Some(letter) = rest.chars().next() else {
        return Err(format!("'{text}' is no conversion"));
    };
    let rest = &rest[letter.len_utf8()..];
    let written = &text[..text.len() - rest.len()];
    let width = match width {
        "" => 0,
        digits => number(written, digits)?,
    };
    let argument = match argument {
        Some(position) => match number(written, position)?.checked_sub(1) {
            Some(position) => Which::At(position),
            None => return Err(format!("'{written}' names argument 0; they count from 1")),
        },
        None if flags.contains('<') => Which::Previous,
        None => Which::Next,
    };
    let conversion = |kind| Conversion {
        text: written.to_owned(),
        argument,
        flags: flags.to_owned(),
        width,
        precision,
        kind,
        is_upper: letter.is_ascii_uppercase(),
    };
    let piece = match (letter, Kind::of_letter(letter)) {
        ('n', _) => Piece::Text("\n".to_owned()),
        ('%', _) => Piece::Text(conversion(Kind::Text).check()?.pad("%")),
        ('t' | 'T', _) => {
            return Err(format!("'{written}' formats times; date_format does that"));
        }
        (_, Some(kind)) => Piece::Conversion(conversion(kind).check()?),
        (_, None) => return Err(format!("'{written}' is no conversion")),
    };
    Ok((piece, rest))
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

fn number(conversion: &str, digits: &str) -> Result<usize, String> {
    digits
        .parse()
        .map_err(|_| format!("'{conversion}' has '{digits}' where a number must be"))
}
