use toml::de::{DeTable, DeValue};
fn show(t: &str, v: &toml::Spanned<DeValue<'_>>, d: usize, src: &str) {
    let s = v.span();
    let txt = src.get(s.clone());
    match v.get_ref() {
        DeValue::Table(tb) => {
            println!("{}{t}: table {s:?} {txt:?}", " ".repeat(d));
            for (k, v) in tb.iter() {
                println!("{} key {} {:?}", " ".repeat(d), k.get_ref(), k.span());
                show(k.get_ref(), v, d + 2, src);
            }
        }
        DeValue::Array(a) => {
            println!("{}{t}: array {s:?} {txt:?}", " ".repeat(d));
            for v in a.iter() {
                show("-", v, d + 2, src);
            }
        }
        v => println!("{}{t}: {v:?} {s:?} {txt:?}", " ".repeat(d)),
    }
}
fn main() {
    let cases = [
        "[stages.a]\nx=1\n[stages.b.c]\ny.z=2\n[[arr]]\nq=1\n[[arr]]\nq=2\n[inl]\nt={a=1,b={c=2}}\n",
        "[stages.walk]\nx=1\n[stages.walk]\ny=2\n",
        "[stages.walk]\nx=1\nx=2\nx=3\n",
        "[stages]\nwalk.x=1\n[stages.walk]\ny=1\n",
        "[stages.walk]\ntype=enumerate\npath = C:\\foo\n",
        "a = \"C:\\new\\qx\"\n",
        "a = \"abc\nb = 1\n",
        "a = [1, 2\nb = 3\n",
        "a = [1 2]\n",
        "a =\nb\n c d = 1\n= 3\n",
        "[stages.walk\nx=1\n",
        "[stages.wälk]\nx=1\n",
        "x = 9223372036854775808\ny = 99999999999999999999999999999999999999999999\nz=1e999",
        "x = 1 y = 2\n",
        "{\"stages\": {\"walk\": {\"type\": \"enumerate\"}}}",
        "{\n  \"stages\": {\n    \"walk\": 1\n  }\n}\n",
        "stages:\n  walk:\n    type: enumerate\n",
        "x = 12abc\ny = True\nz = 1.\nw = 2024-13-01\n",
        "\u{feff}x = 1\n",
        "x = 1\r\ny = \"a\u{1}b\"\r\n",
        "a.b = 1\na = 2\na.b.c = 3\n",
        "x = '''abc\n\n\ny = 1\n",
        "t = { a = 1, \n b = 2, \n",
        "x = 64MiB\n",
        "[a]]\nx=1\n[[b]\nx=1\n",
        "x = 1_000_\n",
        "x = nul\u{0}l\n",
        "x = 010\n",
        "[a.b.]\n",
        "\"a b\n = 3\n",
        "type: \"x\"\n",
    ];
    for c in cases {
        println!("=== {c:?}");
        let (t, e) = DeTable::parse_recoverable(c);
        for e in e {
            println!(
                "  ERR {:?} {:?} {:?}",
                e.message(),
                e.span(),
                e.span().and_then(|s| c.get(s))
            );
        }
        show(
            "root",
            &toml::Spanned::new(t.span(), DeValue::Table(t.into_inner())),
            0,
            c,
        );
    }
}
