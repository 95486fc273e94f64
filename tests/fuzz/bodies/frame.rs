//! Decoding of frames: header, seal, body.
use latido::core::id::GroupId;
use latido::core::limits::FRAME_MAX;
use latido::core::seal::Keys;
use latido::core::wire::{BODY_MAX, Body, FRAME_MIN, HEADER_LEN, Header, NameHash, VERSION};

/// Any bytes as a frame, and as the body of one.
pub(crate) fn frame(data: &[u8]) {
    let keys = Keys::new(1, &[(1, [42; 32]), (2, [7; 32])]).expect("one of two");
    if let Ok(header) = Header::decode(data) {
        assert!((FRAME_MIN..=FRAME_MAX).contains(&data.len()));
        assert_eq!(Header::decode(&[&header.encode(), &data[HEADER_LEN..]].concat()), Ok(header));
        let mut clear = [0; FRAME_MAX];
        if let Ok(text) = keys.open(&header, data, &mut clear) {
            body(&keys, header, text);
        }
    }
    // What somebody with the key may send.
    let header = Header::decode(&[&[VERSION, 1], &[0; FRAME_MIN][..]].concat()).expect("a header");
    body(&keys, header, data);
}

fn body(keys: &Keys, header: Header, text: &[u8]) {
    let Ok(body) = Body::decode(text) else { return };
    for group in GroupId::all() {
        let _ = body.grant(group);
    }
    let header = Header { key: keys.sealing(), ..header };
    let mut sealed = [0; FRAME_MAX];
    let Some(len) = keys.seal(&header, &body, &mut sealed) else {
        let mut room = [0; 4 * FRAME_MAX];
        let needed = body.encode(&mut room).expect("four times the room");
        assert!(needed > BODY_MAX, "a body of {needed} bytes was not sealed");
        return;
    };
    assert_eq!(Header::decode(&sealed[..len]), Ok(header));
    let mut clear = [0; FRAME_MAX];
    let opened = keys.open(&header, &sealed[..len], &mut clear).expect("sealed by us");
    assert_eq!(Body::decode(opened).as_ref(), Ok(&body));
    let names = [3, 1, 2].map(NameHash);
    let mut aligned = body.clone();
    aligned.align(names.into_iter());
    assert!(aligned.groups.iter().map(|part| part.name).eq(names));
}
