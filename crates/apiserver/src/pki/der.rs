//! The little of X.509 (RFC 5280) that is needed beside what rustls verifies: who a certificate names, and when it
//! ends. Only certificates whose signature has been verified, or that we made, come here; every read is bounded.

/// A reader of DER elements.
#[derive(Clone, Copy)]
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next element: tag, content, and what follows it.
    fn next(&mut self) -> Option<(u8, Der<'a>)> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let mut length = usize::from(first);
        if first & 0x80 != 0 {
            let count = usize::from(first & 0x7f);
            if count == 0 || count > 4 || rest.len() < count {
                return None;
            }
            let (digits, after) = rest.split_at(count);
            length = digits.iter().fold(0, |n, &b| n << 8 | usize::from(b));
            rest = after;
        }
        let (content, after) = rest.split_at_checked(length)?;
        self.0 = after;
        Some((tag, Der(content)))
    }

    fn expect(&mut self, tag: u8) -> Option<Der<'a>> {
        self.next().filter(|(t, _)| *t == tag).map(|(_, c)| c)
    }
}

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OID: u8 = 0x06;
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const VERSION: u8 = 0xa0;
/// 2.5.4.3
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// 2.5.4.10
const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];

/// The fields from the validity on: validity, subject, key.
fn after_issuer(certificate: &[u8]) -> Option<Der<'_>> {
    let mut tbs = Der(certificate).expect(SEQUENCE)?.expect(SEQUENCE)?;
    let (tag, _) = tbs.next()?;
    if tag == VERSION {
        tbs.expect(INTEGER)?;
    }
    tbs.expect(SEQUENCE)?; // signature algorithm
    tbs.expect(SEQUENCE)?; // issuer
    Some(tbs)
}

/// The common name and the organizations of a certificate's subject.
pub(crate) fn subject(certificate: &[u8]) -> Option<(String, Vec<String>)> {
    let mut fields = after_issuer(certificate)?;
    fields.expect(SEQUENCE)?; // validity
    let mut names = fields.expect(SEQUENCE)?;
    let (mut common_name, mut organizations) = (None, Vec::new());
    while let Some(mut set) = names.expect(SET) {
        while let Some(mut attribute) = set.expect(SEQUENCE) {
            let oid = attribute.expect(OID)?;
            let (_, value) = attribute.next()?;
            let text = std::str::from_utf8(value.0).ok()?.to_owned();
            match oid.0 {
                COMMON_NAME => common_name = Some(text),
                ORGANIZATION => organizations.push(text),
                _ => {}
            }
        }
    }
    Some((common_name?, organizations))
}

/// When the certificate ends, in seconds since 1970.
pub(crate) fn not_after(certificate: &[u8]) -> Option<i64> {
    let mut validity = after_issuer(certificate)?.expect(SEQUENCE)?;
    validity.next()?;
    let (tag, time) = validity.next()?;
    let text = std::str::from_utf8(time.0).ok()?;
    // UTCTime has two digits for the year, 50 and more meaning 19xx (RFC 5280, 4.1.2.5.1).
    let text = match tag {
        UTC_TIME => format!("{}{text}", if text.get(..1)? < "5" { "20" } else { "19" }),
        _ => text.to_owned(),
    };
    let field = |from: usize, to: usize| text.get(from..to)?.parse::<i8>().ok();
    let time = jiff::civil::DateTime::new(
        text.get(..4)?.parse().ok()?,
        field(4, 6)?,
        field(6, 8)?,
        field(8, 10)?,
        field(10, 12)?,
        field(12, 14)?,
        0,
    )
    .ok()?;
    Some(
        time.to_zoned(jiff::tz::TimeZone::UTC)
            .ok()?
            .timestamp()
            .as_second(),
    )
}
