"""Stand-in of Slicer's SampleData module: registering sources, and what a click on one of its buttons does.

As in Slicer, a source with a ``customDownloader`` is started by the button with the source as the only argument and what
it returns is ignored; ``downloadFromSource`` never calls it but downloads, which this stand-in refuses.
"""

from __future__ import annotations

import sys

import slicer

from .strict import StrictModule


class SampleDataSource:
    def __init__(
        self,
        sampleName=None,
        sampleDescription=None,
        uris=None,
        fileNames=None,
        nodeNames=None,
        checksums=None,
        loadFiles=None,
        customDownloader=None,
        thumbnailFileName=None,
        loadFileType=None,
        loadFileProperties=None,
    ) -> None:
        """``uris`` is one address or a list of them, then all other lists must have its length. It may not be None."""
        if isinstance(uris, str):
            uris, fileNames, nodeNames = [uris], [fileNames], [nodeNames]
            checksums, loadFiles, loadFileType = [checksums], [loadFiles], [loadFileType]
        elif isinstance(uris, list | tuple):
            count = len(uris)
            loadFileType = (
                [loadFileType] * count if loadFileType is None or isinstance(loadFileType, str) else loadFileType
            )
            nodeNames = nodeNames or [None] * count
            loadFiles = loadFiles or [None] * count
            checksums = checksums or [None] * count
        lists = (uris, fileNames, nodeNames, checksums, loadFiles, loadFileType)
        if len({len(values) for values in lists}) != 1:  # TypeError for None, as in Slicer
            raise ValueError(f"all fields of a sample data source must have the same length: {lists}")
        self.sampleName, self.sampleDescription = sampleName, sampleDescription or sampleName
        self.uris, self.fileNames, self.nodeNames = uris, fileNames, nodeNames
        self.checksums, self.loadFiles, self.loadFileType = checksums, loadFiles, loadFileType
        self.customDownloader, self.thumbnailFileName = customDownloader, thumbnailFileName
        self.loadFileProperties = loadFileProperties or {}

    def _key(self) -> str:
        return str([value for name, value in sorted(vars(self).items())])

    def __eq__(self, other) -> bool:
        return isinstance(other, SampleDataSource) and self._key() == other._key()

    __hash__ = None


class SampleDataLogic:
    titles: dict[str, str] = {}

    def __init__(self, logMessage=None) -> None:
        self.builtInCategoryName, self.developmentCategoryName = "General", "Development"

    @staticmethod
    def registerCustomSampleDataCategory(category, title=None) -> None:
        SampleDataLogic.titles[category] = title or category

    @staticmethod
    def registerCustomSampleDataSource(
        category="Custom",
        sampleName=None,
        uris=None,
        fileNames=None,
        nodeNames=None,
        customDownloader=None,
        thumbnailFileName=None,
        loadFileType="VolumeFile",
        loadFiles=None,
        loadFileProperties=None,
        checksums=None,
    ) -> None:
        source = SampleDataSource(
            sampleName=sampleName,
            uris=uris,
            fileNames=fileNames,
            nodeNames=nodeNames,
            thumbnailFileName=thumbnailFileName,
            loadFileType=loadFileType,
            loadFiles=loadFiles,
            loadFileProperties=loadFileProperties,
            checksums=checksums,
            customDownloader=customDownloader,
        )
        sources = _sources().setdefault(category, [])
        if source not in sources:
            sources.append(source)

    @staticmethod
    def sampleDataSourcesByCategory(category=None):
        return _sources() if category is None else _sources().get(category, [])

    @staticmethod
    def isSampleDataSourceRegistered(category, sampleDataSource) -> bool:
        return sampleDataSource in _sources().get(category, [])

    def sourceForSampleName(self, sampleName):
        every = (source for sources in _sources().values() for source in sources)
        return next((source for source in every if source.sampleName == sampleName), None)

    def downloadFromSource(self, source, maximumAttemptsCount=3):
        raise AssertionError(f"{source.sampleName}: Slicer would download {source.uris}; tests use no network")

    def downloadSamples(self, sampleName) -> list:
        source = self.sourceForSampleName(sampleName)
        return self.downloadFromSource(source) if source else []

    def downloadSample(self, sampleName):
        return self.downloadSamples(sampleName)[0]


def click(sampleName: str) -> None:
    """What the user's click on the sample's button does (test control, not a name of Slicer)."""
    source = SampleDataLogic().sourceForSampleName(sampleName)
    if source is None:
        raise LookupError(f"no sample {sampleName!r} is registered")
    if source.customDownloader:
        source.customDownloader(source)
    else:
        SampleDataLogic().downloadFromSource(source)


def _sources() -> dict[str, list[SampleDataSource]]:
    try:
        return slicer.modules.sampleDataSources
    except AttributeError:
        slicer.modules.sampleDataSources = {}
        return slicer.modules.sampleDataSources


def install() -> None:
    SampleDataLogic.titles = {}
    sys.modules["SampleData"] = StrictModule(
        "SampleData", SampleDataLogic=SampleDataLogic, SampleDataSource=SampleDataSource
    )
