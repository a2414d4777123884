//! Lines of rdd in a file that others edit too, between two marks.

const BEGIN: &str = "#RDD-BEGIN";
const END: &str = "#RDD-END";

/// Returns `text` with `lines` between the marks, at its end. Earlier marks and what is between them go; without lines
/// there are no marks. `boot.sh` of guests with cloud-init writes the same marks.
#[must_use]
pub fn replace(text: &str, lines: &[String]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for line in text.lines() {
        match line {
            BEGIN => inside = true,
            END if inside => inside = false,
            _ if inside => {}
            line => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    if !lines.is_empty() {
        for line in [BEGIN]
            .into_iter()
            .chain(lines.iter().map(String::as_str))
            .chain([END])
        {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_others_stay_and_ours_are_replaced() {
        let lines = |text: &str| vec![text.to_owned()];
        let first = replace("A=1\nB=2", &lines("C=3"));
        assert_eq!(first, "A=1\nB=2\n#RDD-BEGIN\nC=3\n#RDD-END\n");
        assert_eq!(replace(&first, &lines("C=3")), first);
        let appended = format!("{first}D=4\n{}", &first[8..]);
        assert_eq!(
            replace(&appended, &lines("C=5")),
            "A=1\nB=2\nD=4\n#RDD-BEGIN\nC=5\n#RDD-END\n"
        );
        assert_eq!(replace(&first, &[]), "A=1\nB=2\n");
        assert_eq!(replace("", &[]), "");
        assert_eq!(replace("#RDD-END\nA=1\n", &[]), "#RDD-END\nA=1\n");
    }
}
