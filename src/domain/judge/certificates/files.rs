//! The files on a member of the replica: there, mysqld's to read, certificates that hold, a key that fits, and an authority from
//! which the source's certificate comes.

use super::{Flaw, Seen, source, told, validity};
use crate::domain::{
    certificate::{Certificate, Holds},
    check::{Check, Side},
    code::Code,
    facts::{Facts, FileFacts, MemberFacts, TlsFilesFacts},
    hint::Hint,
    judge::{
        Asked, ask, ids,
        kubectl::{self, Kubectl},
        member, members, named,
    },
    problem::{Fetched, Problem},
    spec::ReplicationLink,
};

/// Certificates of a CA file that are shown as evidence.
const SHOWN: usize = 4;

/// What a file is for: in words, in the configuration, and the code where it is not there.
#[derive(Clone, Copy)]
struct Use {
    words: &'static str,
    key: &'static str,
    missing: Code,
}

const CA: Use = Use { words: "CA file", key: "tls.ca", missing: Code::CaFileMissing };
const CERTIFICATE: Use = Use { words: "client certificate", key: "tls.cert", missing: Code::ClientFileMissing };
const KEY: Use = Use { words: "key of the client certificate", key: "tls.key", missing: Code::ClientFileMissing };

/// Judges a member's files; `of_source` is the check of what the source shows, if there is one.
pub(super) fn of_member(
    spec: ReplicationLink<'_>,
    facts: &Facts,
    one: &MemberFacts,
    seen: &TlsFilesFacts,
    of_source: Option<&Check>,
) -> Vec<Check> {
    let asked = |id| ask(id, member(Side::Replica, one));
    let place = Place { spec, facts, one, seen };
    let mut checks = Vec::new();
    if let Some(file) = &seen.ca {
        let asked = [ids::TLS_CA, ids::TLS_ISSUER].map(asked);
        checks.extend(place.authority(file, asked, of_source));
    }
    if let Some((certificate, key)) = seen.certificate.as_ref().zip(seen.key.as_ref()) {
        checks.push(told(asked(ids::TLS_CLIENT), place.client(certificate, key)));
    }
    checks
}

/// A member and its files.
struct Place<'a> {
    spec: ReplicationLink<'a>,
    facts: &'a Facts,
    one: &'a MemberFacts,
    seen: &'a TlsFilesFacts,
}

impl Place<'_> {
    fn name(&self) -> String {
        named(Side::Replica, self.one)
    }

    /// The CA file by itself, and whether it leads to what the source shows.
    fn authority(&self, file: &FileFacts, [ca, issuer]: [Asked; 2], of_source: Option<&Check>) -> [Check; 2] {
        let roots = match self.certificates(file, CA) {
            Ok(roots) => roots,
            Err(flaw) => {
                let ca = told(ca, Err(flaw));
                return [ca.clone(), issuer.skipped(&ca)];
            }
        };
        let ca = told(ca, self.ca(file, &roots));
        let mut sources = members(self.facts, Side::Source)
            .iter()
            .filter_map(|source| Some((source, source.presented.as_ref().and_then(Fetched::got)?)))
            .peekable();
        let issuer = match of_source {
            _ if !ca.is_good() => issuer.skipped(&ca),
            Some(check) if sources.peek().is_none() => issuer.skipped(check),
            None => {
                issuer.unknown(Problem::new(Code::TlsFilesUnseen, "no member of the source showed its certificate"))
            }
            Some(_) => told(issuer, self.issuer(file, &roots, sources)),
        };
        [ca, issuer]
    }

    /// Of several roots one that holds is enough here; which of them counts shows what the source is judged by.
    fn ca(&self, file: &FileFacts, roots: &[Certificate]) -> Seen {
        let at = self.facts.at;
        let begun = roots.iter().filter(|root| root.holds(at) != Holds::NotYet);
        if let Some(root) = begun.max_by_key(|root| root.not_after).or(roots.first()) {
            let whose = format!("`{}` in the CA file `{}` on {}", root.subject, file.path, self.name());
            let renew = "put the authority's new certificate into that file on every member, beside the old one until the source has a certificate by it";
            validity(root, at, &whose, &Hint::text(renew))?;
        }
        let shown = roots.iter().take(SHOWN).map(Certificate::described);
        Ok(std::iter::once(format!("{}: {} certificate(s)", file.path, roots.len())).chain(shown).collect())
    }

    fn issuer<'s>(
        &self,
        file: &FileFacts,
        roots: &[Certificate],
        sources: impl Iterator<Item = (&'s MemberFacts, &'s Vec<String>)>,
    ) -> Seen {
        let words = format!("the CA file `{}` on {}", file.path, self.name());
        let (mut lines, mut lesser) = (Vec::new(), None);
        for (source, texts) in sources {
            match source::issued_by(self.facts, source, texts, (&words, roots)) {
                Ok(line) => lines.push(line),
                Err(wrong @ Flaw::Wrong(_)) => return Err(wrong),
                Err(flaw) => lesser = Some(flaw),
            }
        }
        let unshown = members(self.facts, Side::Source)
            .iter()
            .filter(|source| matches!(source.presented, Some(Fetched::Failed(_))))
            .map(|source| format!("{}: not compared, as its certificate was not seen", named(Side::Source, source)));
        lines.extend(unshown);
        lesser.map_or(Ok(lines), Err)
    }

    fn client(&self, certificate: &FileFacts, key: &FileFacts) -> Seen {
        let certificates = self.certificates(certificate, CERTIFICATE)?;
        let labels = self.text(key, KEY)?;
        let (path, name) = (&key.path, self.name());
        let unusable = |why: &str, mend: &str| {
            let message = format!("mysqld on {name} cannot use the key `{path}`: {why}");
            let blocks: Vec<&str> = labels.lines().collect();
            let seen = if blocks.is_empty() { "no PEM block in it".to_owned() } else { blocks.join(" ") };
            Flaw::Wrong(Problem::new(Code::KeyUnusable, message).seen(seen).hint(Hint::text(mend)))
        };
        if labels.contains("ENCRYPTED") {
            let mend = "write it there without the passphrase (`openssl pkey -in OLD -out NEW`), readable by mysqld's user alone";
            return Err(unusable("it is protected by a passphrase, which nobody could give it", mend));
        }
        if !labels.contains("PRIVATE KEY-----") {
            return Err(unusable(
                "it holds no private key",
                "put the key there in PEM form, or correct `replication.tls.key`",
            ));
        }
        let Some(own) = certificates.first() else { return Ok(Vec::new()) };
        let fits = self.seen.public_key.as_ref().and_then(|public| own.has_public_key(public));
        if fits == Some(false) {
            let message =
                format!("the key `{path}` on {name} is not that of the client certificate `{}`", certificate.path);
            let problem = Problem::new(Code::KeyMismatch, message)
                .seen(own.described())
                .seen("the public key in the certificate is not the public half of that key");
            return Err(Flaw::Wrong(problem.hint(Hint::text("put the certificate and the key of one pair there"))));
        }
        let whose = format!("the client certificate `{}` on {name}", certificate.path);
        let renew = "have a new one issued by an authority that the source knows (its `ssl_ca`), and put it and its key there on every member";
        validity(own, self.facts.at, &whose, &Hint::text(renew))?;
        let compared = match fits {
            Some(_) => "its key fits",
            None => "whether the key fits was not compared: the container has no `openssl` that reads it",
        };
        Ok(vec![own.described(), compared.to_owned()])
    }

    /// The certificates in a file.
    fn certificates(&self, file: &FileFacts, of: Use) -> Result<Vec<Certificate>, Flaw> {
        let Use { words, key, .. } = of;
        Certificate::of_pem(self.text(file, of)?).map_err(|why| {
            let message =
                format!("the {words} `{}` on {} holds no certificate that mysqld can use", file.path, self.name());
            let hint = format!("put the certificate there in PEM form, or correct `replication.{key}`");
            Flaw::Wrong(Problem::new(Code::NoCertificate, message).seen(why).hint(Hint::text(hint)))
        })
    }

    /// What was read of a file that mysqld can read.
    fn text<'f>(&self, file: &'f FileFacts, of: Use) -> Result<&'f str, Flaw> {
        let (Use { words, key, missing }, path, name) = (of, &file.path, self.name());
        let Some(user) = &self.seen.mysqld else {
            let container = &self.seen.container;
            let message = format!("container {container} of {name} runs no mysqld, so mysqld may have other files");
            let hint = Hint::text("name the container that mysqld runs in as `replica.kubernetes.container`");
            return Err(Flaw::Untold(Problem::new(Code::TlsFilesUnseen, message).hint(hint)));
        };
        let is_file = file.way.first().is_none_or(|part| part.is_file);
        if let Some(said) = file.absent.as_deref().or((!is_file).then_some("it is a directory")) {
            let message = format!("the {words} `{path}` is not on {name}");
            let mount = format!(
                "mount it into every member, any of which may carry the channel one day, or correct `replication.{key}`: the path is one in the member's container, where mysqld reads it"
            );
            let above = path.rsplit_once('/').map_or("/", |(above, _)| if above.is_empty() { "/" } else { above });
            let hint = self.listed(Hint::text(mount), above);
            return Err(Flaw::Wrong(Problem::new(missing, message).seen(said).hint(hint)));
        }
        if let Some(part) = file.closed_to(user) {
            let groups: Vec<String> = user.groups.iter().map(ToString::to_string).collect();
            let message = format!("mysqld on {name} may not read the {words} `{path}`");
            let hint = "give mysqld's user or one of its groups the right to read it; in a volume of a Secret that is `defaultMode`, and `fsGroup` of the pod";
            let problem = Problem::new(Code::TlsFileClosed, message)
                .seen(part.shown())
                .seen(format!("mysqld runs as user {}, groups {}", user.uid, groups.join(", ")))
                .hint(self.listed(Hint::text(hint), &part.path));
            return Err(Flaw::Wrong(problem));
        }
        file.text.as_deref().ok_or_else(|| {
            let message =
                format!("the {words} `{path}` on {name} may be read by mysqld, and not by the container's user");
            Flaw::Untold(Problem::new(Code::TlsFilesUnseen, message))
        })
    }

    /// The hint with the command that shows what is there.
    fn listed(&self, hint: Hint, path: &str) -> Hint {
        let kubectl = Kubectl::of(&self.spec, self.facts, Side::Replica);
        let container = &self.seen.container;
        let line = kubectl.map(|it| it.line(&["exec", self.one.name(), "-c", container, "--", "ls", "-ln", path]));
        kubectl::with(hint, line)
    }
}
