"""Segment with BiPVL: the scripted module that 3D Slicer loads. It declares itself; ``BiPVLSegPanel`` does the work."""

from __future__ import annotations

import importlib.util
import os
import sys

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleTest

if importlib.util.find_spec("BiPVLSegLib") is None:  # run from a source checkout, where Slicer knows only this folder
    sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from BiPVLSegPanel.logic import BiPVLSegLogic, removeLeftoversAfterStartup
from BiPVLSegPanel.sampledata import registerAfterStartup
from BiPVLSegPanel.widget import BiPVLSegWidget

__all__ = ["BiPVLSeg", "BiPVLSegLogic", "BiPVLSegTest", "BiPVLSegWidget"]


class BiPVLSeg(ScriptedLoadableModule):
    """Name, place and help of the module."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Segment with BiPVL")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = []
        parent.contributors = ["The BiPVLSeg contributors"]
        parent.helpText = _(
            "Segments organs in CT and MR volumes from descriptions in words: shape, location, appearance, contour and "
            "texture of each organ. Choose a volume and a model, check the organs, edit their texts if you like, and "
            "press <b>Segment with BiPVL</b>. The computation runs in a process of its own on this computer; nothing is "
            "sent anywhere. For research, not for clinical use."
        )
        parent.acknowledgementText = _(
            "The method is BiPVL-Seg, described in <a href='https://arxiv.org/abs/2503.23534'>arXiv:2503.23534</a>. "
            "Please cite that article, and <a href='https://www.slicer.org'>3D Slicer</a>, if you publish results."
        )
        registerAfterStartup()
        removeLeftoversAfterStartup()


class BiPVLSegTest(ScriptedLoadableModuleTest):
    """The test that "Reload and Test" runs in a real Slicer: the sample heart, segmented without the panel."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        self.setUp()
        self.test_segmentsTheSampleHeart()

    def test_segmentsTheSampleHeart(self):
        from BiPVLSegPanel.sampledata import generate

        self.delayDisplay(_("Segmenting the sample heart"))
        logic = BiPVLSegLogic()
        try:
            segmentation = logic.process(generate(), device="cpu").GetSegmentation()
        finally:
            logic.shutdown()
        names = {segmentation.GetNthSegment(n).GetName() for n in range(segmentation.GetNumberOfSegments())}
        # The atrium is not in the sample; a segment of its own, which stays empty, says so.
        assert names == {"right ventricle", "left ventricular myocardium", "left ventricle", "left atrium"}, names
        self.delayDisplay(_("Test passed"))
