use super::*;

fn archive(names: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    let look = Look {
        mode: 0o640,
        uid: 3_999_999_999,
        gid: 5,
        user: "somebody".to_owned(),
        group: "g".repeat(50),
        modified: 1_700_000_000,
    };
    for name in names {
        put(&mut out, Path::new(name), &look, name.as_bytes()).unwrap();
    }
    end(&mut out).unwrap();
    out
}

fn all(bytes: &[u8]) -> io::Result<Vec<(Entry, Vec<u8>)>> {
    let mut reader = Reader::new(bytes);
    let mut all = Vec::new();
    while let Some(entry) = reader.next()? {
        let mut content = Vec::new();
        reader.read_to_end(&mut content)?;
        all.push((entry, content));
    }
    Ok(all)
}

#[test]
fn what_is_put_in_comes_out_again_with_names_of_any_length() {
    let long = "d/".repeat(200) + "file.json";
    let names = [
        "a",
        "agent.d/ü.json",
        &"x".repeat(100),
        &"y".repeat(101),
        &long,
    ];
    let entries = all(&archive(&names)).unwrap();
    assert_eq!(entries.len(), names.len());
    for ((entry, content), name) in entries.iter().zip(names) {
        assert_eq!(entry.name, Path::new(name));
        assert_eq!(entry.kind, Kind::File);
        assert_eq!(entry.mode, 0o640);
        assert_eq!(content, name.as_bytes());
    }
}

#[test]
fn content_that_nobody_reads_is_skipped() {
    let bytes = archive(&["one", "two"]);
    let mut reader = Reader::new(&bytes[..]);
    let mut names = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        names.push(entry.name);
    }
    assert_eq!(names, ["one", "two"].map(PathBuf::from));
}

#[test]
fn no_damage_goes_unnoticed_or_ends_the_program() {
    let good = archive(&["one", &"x".repeat(150)]);
    for cut in (0..good.len() - 2 * BLOCK).step_by(97) {
        assert!(all(&good[..cut]).is_err(), "cut at {cut}");
    }
    for at in 0..BLOCK {
        let mut bytes = good.clone();
        bytes[at] ^= 0x81;
        // Some are harmless, such as another blank in a number; none is fatal.
        let _ = all(&bytes);
    }
    let mut bytes = good;
    bytes[0] = b'0';
    assert!(all(&bytes).is_err());
    assert!(all(&[b'x'; 2000]).is_err());
}

/// A header with a right checksum.
fn raw(name: &[u8], kind: u8, size: &[u8]) -> Vec<u8> {
    let mut block = header(name, kind, 0, &Look::default());
    block[124..124 + size.len()].copy_from_slice(size);
    let sum = format!("{:06o}\0 ", checksum(&block));
    block[148..156].copy_from_slice(sum.as_bytes());
    block.to_vec()
}

#[test]
fn headers_that_lie_about_sizes_cost_no_memory() {
    // 2^62 bytes of content, of an extended header, and a negative number
    let huge = [0x80, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0];
    for bytes in [
        raw(b"a", b'0', &huge),
        raw(b"a", b'x', &huge),
        raw(b"a", b'L', b"77777777777\0"),
        raw(b"a", b'0', &[0xFF; 12]),
        raw(b"a", b'0', b"99999999999\0"),
    ] {
        assert!(all(&bytes).is_err());
    }
    // Records of extended headers that reach beyond their end
    for record in ["99 path=x\n", "x", "5 a=b", "0 path=x\n", "7 path\n\n"] {
        let mut bytes = raw(b"a", b'x', format!("{:011o}", record.len()).as_bytes());
        padded(&mut bytes, record.as_bytes()).unwrap();
        bytes.extend(archive(&["one"]));
        assert!(all(&bytes).is_err(), "{record}");
    }
}

#[test]
fn other_tars_are_understood() {
    // GNU's long names, a folder, a link and a device; the size of links does not count
    let mut bytes = raw(b"././@LongLink", b'L', b"00000000004\0");
    padded(&mut bytes, b"abc\0").unwrap();
    bytes.extend(raw(b"cut", b'0', b"00000000000\0"));
    bytes.extend(raw(b"dir/", b'5', b"00000000000\0"));
    bytes.extend(raw(b"link", b'2', b"00000000010\0"));
    bytes.extend(raw(b"device", b'3', b"00000000000\0"));
    end(&mut bytes).unwrap();
    let kinds: Vec<(String, Kind)> = all(&bytes)
        .unwrap()
        .into_iter()
        .map(|(entry, _)| (entry.name.display().to_string(), entry.kind))
        .collect();
    assert_eq!(
        kinds,
        [
            ("abc".to_owned(), Kind::File),
            ("dir/".to_owned(), Kind::Folder),
            ("link".to_owned(), Kind::Link(PathBuf::new())),
            ("device".to_owned(), Kind::Other('3')),
        ]
    );
}

#[test]
fn names_that_lead_out_are_no_paths() {
    for bad in ["/etc/passwd", "../x", "a/../../x", "a/..", "", ".", "./"] {
        assert_eq!(safe_path(Path::new(bad)), None, "{bad}");
    }
    for (name, path) in [("./a/b", "a/b"), ("a/", "a"), ("a//b", "a/b")] {
        assert_eq!(safe_path(Path::new(name)), Some(path.into()), "{name}");
    }
}
