//! What `latido witness` is told: a name, the keys of its clusters, its links, and nothing else.
use super::check::name_links;
use super::diagnostic::{Diagnostic, Report};
use super::latido::witness::read;
use super::{Keys, Link, Medium, keys, tag_of, values};
use crate::core::limits::LINKS_MAX;
use crate::core::witness::KEYS_MAX;
use std::path::{Path, PathBuf};

/// Clusters that one witness serves at most.
pub const CLUSTERS_MAX: usize = 16;

/// A witness.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WitnessConfig {
    /// Its name, as the clusters' configurations have it; lower-case.
    pub name: String,
    /// The clusters that it serves.
    pub clusters: Vec<Ward>,
    /// Its links.
    pub links: Vec<Link>,
}

/// A cluster that a witness serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ward {
    /// The cluster's name.
    pub cluster: String,
    /// Its key file.
    pub file: PathBuf,
    /// Its keys.
    pub keys: Keys,
}

impl WitnessConfig {
    /// Reads the file, if one is given, adds what the command line says, and checks the whole.
    ///
    /// `None`: there are errors. One-line errors stand in `Err`.
    ///
    /// # Errors
    /// What does not fit together, and the cure.
    pub fn load(
        file: Option<&Path>,
        name: Option<&str>,
        clusters: &[(String, PathBuf)],
        media: &[Medium],
    ) -> (Result<WitnessConfig, String>, Vec<Diagnostic>) {
        let mut report = Report::default();
        let (mut written, mut wards, mut links) = (None, Vec::new(), Vec::new());
        if let Some(file) = file
            && let Some(found) = read(file, &mut report)
        {
            (written, wards, links) = found;
        }
        wards.extend_from_slice(clusters);
        links.extend_from_slice(media);
        let name = name.map(str::to_owned).or(written).unwrap_or_default();
        let clusters = wards
            .into_iter()
            .filter_map(|(cluster, file)| {
                Some(Ward { keys: keys::read(&mut report, &file)?, cluster, file })
            })
            .collect();
        let name = name.to_ascii_lowercase();
        let config = WitnessConfig { name, clusters, links: name_links(links.iter()) };
        let checked = match report.errors() {
            0 => config.check().map(|()| config),
            _ => Err("nothing was started; the errors stand above".to_owned()),
        };
        (checked, report.finish())
    }

    fn check(&self) -> Result<(), String> {
        if self.name.is_empty() {
            return Err("this witness has no name: add --name, the name that stands under \
                        [[witness]] in the nodes' latido.toml"
                .to_owned());
        }
        values::node_name(&self.name)
            .map_err(|cure| format!("`{}` is no name of a witness: {cure}", self.name))?;
        if self.clusters.is_empty() {
            return Err("no cluster: add --cluster NAME=KEYFILE with the name under [cluster] in \
                        the nodes' latido.toml and a copy of their key file"
                .to_owned());
        }
        if self.clusters.len() > CLUSTERS_MAX {
            return Err(format!("more than {CLUSTERS_MAX} clusters: start a second witness"));
        }
        for (index, ward) in self.clusters.iter().enumerate() {
            let tag = tag_of(&ward.cluster);
            if let Some(other) =
                self.clusters[..index].iter().find(|other| tag_of(&other.cluster) == tag)
            {
                return Err(format!(
                    "clusters {} and {} cannot be told apart: name each once, and differently",
                    other.cluster, ward.cluster
                ));
            }
            if ward.keys.keys.len() > KEYS_MAX {
                return Err(format!(
                    "{} has more than {KEYS_MAX} keys: remove those that nobody uses any more",
                    ward.file.display()
                ));
            }
        }
        if self.links.is_empty() {
            return Err("no link: add --udp eth0 or --serial /dev/ttyUSB0".to_owned());
        }
        if self.links.len() > LINKS_MAX {
            return Err(format!("{} links: at most {LINKS_MAX}", self.links.len()));
        }
        for (index, link) in self.links.iter().enumerate() {
            if self.links[..index].iter().any(|other| other.medium == link.medium) {
                return Err(format!("link {} is there twice: name it once", link.name));
            }
            if let Medium::Serial { line, .. } = &link.medium
                && line.bus.is_some()
            {
                return Err(format!(
                    "{}: on an RS-485 bus only the nodes take turns: give the witness a line to \
                     each node",
                    link.name
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn dir(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("latido-{name}-{}", std::process::id()));
        fs::create_dir(&dir).expect("directory");
        for (file, digit) in [("ftp.keys", "1"), ("web.keys", "2")] {
            let path = dir.join(file);
            fs::write(&path, format!("use 1\n1 {}\n", digit.repeat(64))).expect("keys");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("mode");
        }
        dir
    }

    #[test]
    fn a_file_and_a_command_line_say_the_same() {
        let dir = dir("witness-same");
        let file = dir.join("witness.toml");
        let text = "name = \"Pico\"\n[[cluster]]\nname = \"ftp\"\nkeys = \"ftp.keys\"\n\
                    [[cluster]]\nname = \"web\"\nkeys = \"web.keys\"\n[[link]]\nudp = \
                    \"broadcast\"\ninterface = \"eth0\"\n[[link]]\nserial = \"/dev/ttyS9\"\n\
                    baud = 9600\n";
        fs::write(&file, text).expect("file");
        let (written, said) = WitnessConfig::load(Some(&file), None, &[], &[]);
        let written = written.unwrap_or_else(|error| panic!("{error} {said:?}"));
        let clusters = ["ftp", "web"].map(|name| (name.into(), dir.join(format!("{name}.keys"))));
        let media = [
            Medium::Broadcast { interface: "eth0".into(), port: 694 },
            Medium::Serial {
                device: "/dev/ttyS9".into(),
                baud: 9600,
                line: crate::config::Line::default(),
            },
        ];
        let (told, _) = WitnessConfig::load(None, Some("pico"), &clusters, &media);
        assert_eq!(written, told.expect("complete"));
        assert_eq!(written.name, "pico");
        let (faulty, said) = WitnessConfig::load(Some(&file), None, &clusters[..1], &[]);
        let why = faulty.expect_err("ftp twice");
        assert!(why.contains("ftp and ftp cannot be told apart"), "{why} {said:?}");
        fs::write(&file, text.replace("keys =", "key =")).expect("file");
        let (faulty, said) = WitnessConfig::load(Some(&file), None, &[], &[]);
        assert!(faulty.is_err());
        assert!(said.iter().any(|one| one.cure.contains("`keys`")), "{said:?}");
        fs::remove_dir_all(&dir).expect("removed");
    }

    #[test]
    fn what_is_missing_is_named_with_its_cure() {
        let dir = dir("witness-missing");
        let ftp = [("ftp".to_owned(), dir.join("ftp.keys"))];
        let eth0 = [Medium::Broadcast { interface: "eth0".into(), port: 694 }];
        for (name, clusters, media, cure) in [
            (None, &ftp[..], &eth0[..], "--name"),
            (Some("p co"), &ftp[..], &eth0[..], "letters, digits"),
            (Some("pico"), &[][..], &eth0[..], "--cluster"),
            (Some("pico"), &ftp[..], &[][..], "--udp eth0"),
        ] {
            let (refused, _) = WitnessConfig::load(None, name, clusters, media);
            let why = refused.expect_err(cure);
            assert!(why.contains(cure), "{why}");
        }
        let (refused, _) =
            WitnessConfig::load(None, Some("pico"), &ftp, &[eth0[0].clone(), eth0[0].clone()]);
        assert!(refused.expect_err("twice").contains("twice"));
        fs::remove_dir_all(&dir).expect("removed");
    }
}
