#!/usr/bin/env bash
# Builds the app bundle and a disk image on macOS. UNPROVEN: it has not been run yet.
# Needs Python 3.11 or newer and Xcode's command line tools. Metal is built in.
# With a Developer ID in SIGN_AS ("Developer ID Application: …") and a keychain profile in NOTARY
# (made once by `xcrun notarytool store-credentials`) the image is signed, notarised and stapled.
set -euo pipefail
cd "$(dirname "$0")/../.."
python3 -m venv build/bundle/venv
python=build/bundle/venv/bin/python
CMAKE_ARGS="-DGGML_NATIVE=OFF" $python -m pip install --no-cache-dir --no-binary llama-cpp-python \
    ".[gui,heic]" pyinstaller
build/bundle/venv/bin/pyinstaller --noconfirm --workpath build/bundle/work --distpath build/bundle \
    packaging/bundle/llavao1-edge.spec
app=build/bundle/llavao1-edge.app
$python packaging/bundle/licences.py build/bundle/llavao1-edge
cp -R build/bundle/llavao1-edge/licences "$app/Contents/Resources/licences"

if [ -n "${SIGN_AS:-}" ]; then
    codesign --deep --force --options runtime --timestamp --sign "$SIGN_AS" "$app"
fi
version=$($python -c 'import llavao1_edge; print(llavao1_edge.__version__)')
image=dist/llavao1-edge-$version-macos-$(uname -m).dmg
mkdir -p dist
rm -rf build/bundle/image && mkdir build/bundle/image
cp -R "$app" build/bundle/image/
ln -s /Applications build/bundle/image/Applications
hdiutil create -volname llavao1-edge -srcfolder build/bundle/image -ov -format UDZO "$image"
if [ -n "${SIGN_AS:-}" ] && [ -n "${NOTARY:-}" ]; then
    codesign --sign "$SIGN_AS" "$image"
    xcrun notarytool submit "$image" --keychain-profile "$NOTARY" --wait
    xcrun stapler staple "$image"
fi
echo "$image"
