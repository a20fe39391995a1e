# Builds the app and its installer on Windows. UNPROVEN: it has not been run yet.
# Needs Python 3.11 or newer, Visual Studio's C++ build tools, and Inno Setup (iscc on the PATH).
$ErrorActionPreference = "Stop"
Set-Location (Join-Path $PSScriptRoot "..\..")
python -m venv build\bundle\venv
$python = "build\bundle\venv\Scripts\python.exe"
# Every processor's code as a DLL of its own; ggml takes the best one when it starts.
$env:CMAKE_ARGS = "-DGGML_NATIVE=OFF -DGGML_BACKEND_DL=ON -DGGML_CPU_ALL_VARIANTS=ON -DCMAKE_INSTALL_BINDIR=llama_cpp/lib"
& $python -m pip install --no-cache-dir --no-binary llama-cpp-python ".[gui,heic,plugins]" pyinstaller
if ($LASTEXITCODE) { exit $LASTEXITCODE }
if ($env:VULKAN_SDK) { & $python packaging\plugins\build.py vulkan }
& build\bundle\venv\Scripts\pyinstaller.exe --noconfirm --workpath build\bundle\work --distpath build\bundle packaging\bundle\llavao1-edge.spec
if ($LASTEXITCODE) { exit $LASTEXITCODE }
& $python packaging\bundle\licences.py build\bundle\llavao1-edge
if ($LASTEXITCODE) { exit $LASTEXITCODE }
$version = & $python -c "import llavao1_edge; print(llavao1_edge.__version__)"
iscc "/DVersion=$version" packaging\windows\llavao1-edge.iss
exit $LASTEXITCODE
