"""PDFs: one that opens only with the password `user` (made with pikepdf), one with a form."""

from base64 import b64decode

LOCKED = b64decode(
    "JVBERi0xLjYKJb/3ov4KMSAwIG9iago8PCAvUGFnZXMgMiAwIFIgL1R5cGUgL0NhdGFsb2cgPj4KZW5kb2JqCjIg"
    "MCBvYmoKPDwgL0NvdW50IDEgL0tpZHMgWyAzIDAgUiBdIC9UeXBlIC9QYWdlcyA+PgplbmRvYmoKMyAwIG9iago8"
    "PCAvQ29udGVudHMgNCAwIFIgL01lZGlhQm94IFsgMCAwIDcyIDcyIF0gL1BhcmVudCAyIDAgUiAvUmVzb3VyY2Vz"
    "IDw8ID4+IC9UeXBlIC9QYWdlID4+CmVuZG9iago0IDAgb2JqCjw8IC9MZW5ndGggMzIgL0ZpbHRlciAvRmxhdGVE"
    "ZWNvZGUgPj4Kc3RyZWFtChH62JlTEQUAAd+zjW9Q2yOdg45jzWpOHEVEqIYLASf6CmVuZHN0cmVhbQplbmRvYmoK"
    "NSAwIG9iago8PCAvQ0YgPDwgL1N0ZENGIDw8IC9BdXRoRXZlbnQgL0RvY09wZW4gL0NGTSAvQUVTVjIgL0xlbmd0"
    "aCAxNiA+PiA+PiAvRmlsdGVyIC9TdGFuZGFyZCAvTGVuZ3RoIDEyOCAvTyA8MGJhMzgzNWY4OGY5MDM4OGU3NGU1"
    "NDU4NDEyNWNlMTQyYmUwZGUyNGM2YjBkMzc3NDZlMDc1Yjg5MTc1NjY3MT4gL09FIDw+IC9QIC0xMDI4IC9SIDQg"
    "L1N0bUYgL1N0ZENGIC9TdHJGIC9TdGRDRiAvVSA8N2ExMGZkMjM2OGFjMzVjZGUyMmEzMWI4MDRkODVlZTkwMDIx"
    "NDQ2OTkwYjllNDExNDA3MWE0ZDkxMDQ5ODRjMT4gL1VFIDw+IC9WIDQgPj4KZW5kb2JqCnhyZWYKMCA2CjAwMDAw"
    "MDAwMDAgNjU1MzUgZiAKMDAwMDAwMDAxNSAwMDAwMCBuIAowMDAwMDAwMDY0IDAwMDAwIG4gCjAwMDAwMDAxMjMg"
    "MDAwMDAgbiAKMDAwMDAwMDIyNyAwMDAwMCBuIAowMDAwMDAwMzMwIDAwMDAwIG4gCnRyYWlsZXIgPDwgL1Jvb3Qg"
    "MSAwIFIgL1NpemUgNiAvSUQgWzw4YTAzOTFkMDc0NDNjMTA0NjA3OGU4ODI0ODYwZGZkOD48OGEwMzkxZDA3NDQz"
    "YzEwNDYwNzhlODgyNDg2MGRmZDg+XSAvRW5jcnlwdCA1IDAgUiA+PgpzdGFydHhyZWYKNjQ2CiUlRU9GCg=="
)


def _written(*objects: bytes) -> bytes:
    """A PDF of these objects, the first of which is its catalogue."""
    data, starts = b"%PDF-1.5\n", []
    for number, content in enumerate(objects, start=1):
        starts.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % start for start in starts)
    end = b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(starts) + 1, len(data))
    return data + b"xref\n0 %d\n0000000000 65535 f \n" % (len(starts) + 1) + table + end


_WRITTEN = b"/Tx BMC q BT /Helv 60 Tf 0 g 10 30 Td (HELLO) Tj ET Q EMC"
_STYLE = b"/DR<</Font<</Helv 6 0 R>>>>/DA(/Helv 40 Tf 0 g)"
FORM = _written(
    b"<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[4 0 R]" + _STYLE + b">>>>",
    b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
    b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 400 200]/Annots[4 0 R]/Resources<<>>>>",
    b"<</Type/Annot/Subtype/Widget/FT/Tx/T(name)/V(HELLO)/F 4/Rect[20 50 380 150]"
    b"/DA(/Helv 40 Tf 0 g)/P 3 0 R/AP<</N 5 0 R>>>>",
    b"<</Type/XObject/Subtype/Form/BBox[0 0 360 100]/Resources<</Font<</Helv 6 0 R>>>>"
    b"/Length %d>>stream\n%s\nendstream" % (len(_WRITTEN), _WRITTEN),
    b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
)
