//! The container images: layers made of unpacked roots and built programs, described as an OCI image layout in one tar.

use std::{
    collections::HashMap,
    fs,
    fs::File,
    io,
    io::Write,
    path::{Path, PathBuf},
};

use oci_spec::{
    OciSpecError,
    image::{
        Arch, ConfigBuilder, Descriptor, DescriptorBuilder, ImageConfigurationBuilder, ImageIndexBuilder,
        ImageManifestBuilder, MediaType, OciLayoutBuilder, Os, RootFsBuilder, SCHEMA_VERSION, Sha256Digest,
    },
};
use sha2::{Digest as _, Sha256};
use tar::{Builder, Header};
use walkdir::WalkDir;

use super::{
    error::{Doing as _, StepError},
    job::Job,
    part::hex,
};
use crate::cache::Cache;

/// The annotation by which containerd names an imported image.
const NAME: &str = "io.containerd.image.name";

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where a layer's files come from.
#[derive(Debug)]
enum Source {
    /// Everything below this directory of the cache's parts.
    Tree(&'static str),
    /// Single files: path among the cache's parts, path in the image, mode.
    Files(&'static [(&'static str, &'static str, u32)]),
}

#[derive(Debug)]
struct Image {
    name: &'static str,
    entrypoint: &'static [&'static str],
    /// Runs as this user; as root when empty.
    user: &'static str,
    /// Indexes into [`LAYERS`], lowest first.
    layers: &'static [usize],
}

const LAYERS: &[Source] = &[
    Source::Tree("base-root/root"),
    Source::Tree("mysql-root/root"),
    Source::Tree("mysql-template/root"),
    Source::Files(&[
        ("istio/pilot-agent", "usr/local/bin/pilot-agent", 0o755),
        ("envoy/envoy", "usr/local/bin/envoy", 0o755),
        ("istio/envoy_bootstrap.json", "var/lib/istio/envoy/envoy_bootstrap_tmpl.json", 0o644),
    ]),
    Source::Files(&[("istio/pilot-discovery", "usr/local/bin/pilot-discovery", 0o755)]),
    Source::Files(&[("coredns/coredns", "coredns", 0o755)]),
    Source::Files(&[("pause/pause", "pause", 0o755)]),
];

const IMAGES: &[Image] = &[
    Image { name: "sandbox.local/pause:1", entrypoint: &["/pause"], user: "", layers: &[6] },
    Image { name: "sandbox.local/base:1", entrypoint: &[], user: "", layers: &[0] },
    Image { name: "sandbox.local/mysql:9.7", entrypoint: &[], user: "", layers: &[1, 2] },
    Image { name: "sandbox.local/proxyv2:dev", entrypoint: &["/usr/local/bin/pilot-agent"], user: "", layers: &[0, 3] },
    // Its pod says runAsNonRoot and names no user.
    Image {
        name: "sandbox.local/pilot:dev",
        entrypoint: &["/usr/local/bin/pilot-discovery"],
        user: "1337:1337",
        layers: &[0, 4],
    },
    Image { name: "sandbox.local/coredns:1", entrypoint: &["/coredns"], user: "", layers: &[5] },
];

/// The names of all images.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    IMAGES.iter().map(|image| image.name)
}

/// What the images are described by, for the key of the part that holds them.
pub(super) fn recipe() -> String {
    format!("{PATH} {LAYERS:?} {IMAGES:?}")
}

/// Writes all images into one archive, which `ctr image import` takes.
pub(super) fn write_archive(job: &Job, cache: &Cache, archive: &Path) -> Result<(), StepError> {
    let mut out =
        Archive { tar: Builder::new(File::create(archive).doing("create", archive)?), path: archive.to_owned(), job };
    let mut layers = Vec::new();
    for source in LAYERS {
        job.go_on()?;
        layers.push(out.layer(source, cache)?);
    }
    let mut manifests = Vec::new();
    let mut known: Vec<String> = layers.iter().map(|layer| layer.digest().to_string()).collect();
    for image in IMAGES {
        let described = |source| StepError::Image { image: image.name.to_owned(), source };
        let mine: Vec<Descriptor> = image.layers.iter().map(|index| layers[*index].clone()).collect();
        let config = configuration(image, &mine).map_err(described)?;
        let config = out.blob(MediaType::ImageConfig, config.as_bytes(), &mut known)?;
        let manifest = ImageManifestBuilder::default()
            .schema_version(SCHEMA_VERSION)
            .media_type(MediaType::ImageManifest)
            .config(config)
            .layers(mine)
            .build()
            .and_then(|manifest| manifest.to_string())
            .map_err(described)?;
        let mut manifest = out.blob(MediaType::ImageManifest, manifest.as_bytes(), &mut known)?;
        manifest.set_annotations(Some(HashMap::from([(NAME.to_owned(), image.name.to_owned())])));
        manifests.push(manifest);
    }
    let described = |source| StepError::Image { image: "of the archive's index".to_owned(), source };
    let index = ImageIndexBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageIndex)
        .manifests(manifests)
        .build()
        .and_then(|index| index.to_string())
        .map_err(described)?;
    out.file("index.json", index.as_bytes())?;
    let layout = OciLayoutBuilder::default()
        .image_layout_version("1.0.0".to_owned())
        .build()
        .and_then(|layout| layout.to_string())
        .map_err(described)?;
    out.file("oci-layout", layout.as_bytes())?;
    out.tar.into_inner().and_then(|mut file| file.flush()).doing("finish", archive)
}

fn configuration(image: &Image, layers: &[Descriptor]) -> Result<String, OciSpecError> {
    let mut config = ConfigBuilder::default().env(vec![PATH.to_owned()]).working_dir("/".to_owned());
    if !image.entrypoint.is_empty() {
        config = config.entrypoint(image.entrypoint.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
    }
    if !image.user.is_empty() {
        config = config.user(image.user.to_owned());
    }
    // The layers are not compressed, so a layer's digest is that of its content.
    let contents: Vec<String> = layers.iter().map(|layer| layer.digest().to_string()).collect();
    ImageConfigurationBuilder::default()
        .architecture(Arch::Amd64)
        .os(Os::Linux)
        .config(config.build()?)
        .rootfs(RootFsBuilder::default().typ("layers".to_owned()).diff_ids(contents).build()?)
        .build()?
        .to_string()
}

struct Archive<'a> {
    tar: Builder<File>,
    path: PathBuf,
    job: &'a Job,
}

impl Archive<'_> {
    /// Writes a layer to a file first: its name in the archive is its digest.
    fn layer(&mut self, source: &Source, cache: &Cache) -> Result<Descriptor, StepError> {
        let path = self.job.dir.join("layer.tar");
        let mut layer =
            Builder::new(Hashing { file: File::create(&path).doing("create", &path)?, hash: Sha256::new(), size: 0 });
        layer.follow_symlinks(false);
        match source {
            Source::Tree(root) => tree(&mut layer, &cache.parts().join(root))?,
            Source::Files(files) => {
                for (from, to, mode) in *files {
                    let from = cache.parts().join(from);
                    let mut file = File::open(&from).doing("open", &from)?;
                    let mut header = Header::new_gnu();
                    header.set_size(file.metadata().doing("read", &from)?.len());
                    header.set_mode(*mode);
                    layer.append_data(&mut header, to, &mut file).doing("pack", from)?;
                }
            }
        }
        let done = layer.into_inner().doing("finish", &path)?;
        let digest = hex(&done.hash.finalize());
        let mut file = File::open(&path).doing("open", &path)?;
        let mut header = plain(done.size);
        self.tar.append_data(&mut header, blob_name(&digest), &mut file).doing("write", &self.path)?;
        fs::remove_file(&path).doing("remove", path)?;
        descriptor(MediaType::ImageLayer, done.size, &digest)
    }

    fn blob(&mut self, kind: MediaType, content: &[u8], known: &mut Vec<String>) -> Result<Descriptor, StepError> {
        let digest = hex(&Sha256::digest(content));
        // Images of the same content share the blob; containerd refuses an archive that has a name twice.
        if !known.contains(&digest) {
            self.file(&blob_name(&digest), content)?;
            known.push(digest.clone());
        }
        descriptor(kind, content.len() as u64, &digest)
    }

    fn file(&mut self, name: &str, content: &[u8]) -> Result<(), StepError> {
        self.tar.append_data(&mut plain(content.len() as u64), name, content).doing("write", &self.path)
    }
}

fn plain(size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    header
}

fn blob_name(digest: &str) -> String {
    format!("blobs/sha256/{digest}")
}

fn descriptor(kind: MediaType, size: u64, digest: &str) -> Result<Descriptor, StepError> {
    let bad = |source| StepError::Image { image: format!("blob {digest}"), source };
    let digest: Sha256Digest = digest.parse().map_err(bad)?;
    DescriptorBuilder::default().media_type(kind).size(size).digest(digest).build().map_err(bad)
}

/// Packs a directory with owners, modes and times, sorted by name; what the container runtime mounts over stays empty.
fn tree(layer: &mut Builder<Hashing>, root: &Path) -> Result<(), StepError> {
    for entry in WalkDir::new(root).min_depth(1).sort_by_file_name() {
        let entry = entry.map_err(io::Error::from).doing("list", root)?;
        let name = entry.path().strip_prefix(root).unwrap_or(entry.path());
        let below = |dir: &str| name.starts_with(dir) && name != Path::new(dir);
        if ["dev", "proc", "sys", "run"].into_iter().any(below) {
            continue;
        }
        layer.append_path_with_name(entry.path(), name).doing("pack", entry.path())?;
    }
    Ok(())
}

/// A file that is hashed while it is written.
struct Hashing {
    file: File,
    hash: Sha256,
    size: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, io::Read as _, os::unix::fs::symlink};

    use oci_spec::image::{ImageConfiguration, ImageIndex, ImageManifest};

    use super::*;
    use crate::prepare::Cancel;

    /// A cache with every source of a layer, each with little in it.
    fn small_cache(home: &Path) -> Cache {
        let cache = Cache::at(home);
        for source in LAYERS {
            match source {
                Source::Tree(root) => {
                    let root = cache.parts().join(root);
                    fs::create_dir_all(root.join("usr/bin")).unwrap();
                    fs::create_dir_all(root.join("proc")).unwrap();
                    fs::write(root.join("usr/bin/tool"), root.to_str().unwrap()).unwrap();
                    fs::write(root.join("proc/mounted-over"), "").unwrap();
                    symlink("usr/bin", root.join("bin")).unwrap();
                }
                Source::Files(files) => {
                    for (from, _, _) in *files {
                        let from = cache.parts().join(from);
                        fs::create_dir_all(from.parent().unwrap()).unwrap();
                        fs::write(&from, from.to_str().unwrap()).unwrap();
                    }
                }
            }
        }
        cache
    }

    fn read(archive: &Path) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(File::open(archive).unwrap()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            assert!(files.insert(name.clone(), content).is_none(), "{name} is there twice");
        }
        files
    }

    #[test]
    fn the_archive_holds_what_its_descriptions_say() {
        let home = tempfile::tempdir().unwrap();
        let cache = small_cache(home.path());
        let job = Job::new(home.path().to_owned(), home.path().join("log"), Cancel::default());
        let archive = home.path().join("images.tar");
        write_archive(&job, &cache, &archive).unwrap();

        let files = read(&archive);
        for (name, content) in files.iter().filter(|(name, _)| name.starts_with("blobs/")) {
            assert_eq!(*name, blob_name(&hex(&Sha256::digest(content))));
        }
        let blob = |descriptor: &Descriptor| {
            let content = &files[&blob_name(descriptor.as_digest_sha256().unwrap())];
            assert_eq!(descriptor.size(), content.len() as u64);
            content.as_slice()
        };
        let index = ImageIndex::from_reader(files["index.json"].as_slice()).unwrap();
        let named: Vec<_> =
            index.manifests().iter().map(|entry| entry.annotations().as_ref().unwrap()[NAME].as_str()).collect();
        assert_eq!(named, names().collect::<Vec<_>>());
        for (entry, image) in index.manifests().iter().zip(IMAGES) {
            let manifest = ImageManifest::from_reader(blob(entry)).unwrap();
            let config = ImageConfiguration::from_reader(blob(manifest.config())).unwrap();
            let layers: Vec<_> = manifest.layers().iter().map(|layer| layer.digest().to_string()).collect();
            assert_eq!(layers.len(), image.layers.len());
            assert_eq!(*config.rootfs().diff_ids(), layers);
            let user = config.config().as_ref().unwrap().user().clone().unwrap_or_default();
            assert_eq!(user, image.user);
            manifest.layers().iter().for_each(|layer| assert!(!blob(layer).is_empty()));
        }
    }

    #[test]
    fn a_layer_keeps_links_and_leaves_out_what_is_mounted_over() {
        let home = tempfile::tempdir().unwrap();
        let cache = small_cache(home.path());
        let path = home.path().join("layer.tar");
        let mut layer = Builder::new(Hashing { file: File::create(&path).unwrap(), hash: Sha256::new(), size: 0 });
        layer.follow_symlinks(false);
        tree(&mut layer, &cache.parts().join("base-root/root")).unwrap();
        layer.into_inner().unwrap();
        let names: Vec<_> = read(&path).into_keys().map(|name| name.trim_end_matches('/').to_owned()).collect();
        assert_eq!(names, ["bin", "proc", "usr", "usr/bin", "usr/bin/tool"]);
    }
}
